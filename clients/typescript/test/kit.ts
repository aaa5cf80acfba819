// Where the servers are, as the target `clients` of the crate `rehome-tests` says, and a way to them that loses answers.

import net from "node:net";

function set(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set; the tests are run by cargo test --test clients`);
  return value;
}

export const URL_OF_SERVER = set("REHOME_URL");
export const OTHER = set("REHOME_OTHER");
export const TLS = set("REHOME_TLS");
export const TOKEN = set("REHOME_TOKEN");

/** A way to two servers that breaks off: one piece of answers in `every` is lost, with its connection. */
export class Breaker {
  broke = 0;
  taken = 0;
  url = "";
  #server: net.Server;
  #open = new Set<net.Socket>();
  #seed = 7;

  private constructor(every: number) {
    this.#server = net.createServer((client) => {
      this.taken += 1;
      const to = new URL(this.taken % 2 ? URL_OF_SERVER : OTHER);
      const server = net.connect(Number(to.port), to.hostname);
      const end = () => {
        client.destroy();
        server.destroy();
        this.#open.delete(client);
      };
      this.#open.add(client);
      for (const socket of [client, server]) socket.on("error", end).on("close", end);
      client.pipe(server);
      server.on("data", (piece) => {
        if (this.#random() % every === 0) {
          this.broke += 1;
          end();
        } else client.write(piece);
      });
    });
  }

  static async start(every: number): Promise<Breaker> {
    const breaker = new Breaker(every);
    await new Promise<void>((resolve) => breaker.#server.listen(0, "127.0.0.1", resolve));
    breaker.url = `http://127.0.0.1:${(breaker.#server.address() as net.AddressInfo).port}`;
    return breaker;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
  }

  /** The same each time. */
  #random(): number {
    this.#seed = (this.#seed * 1103515245 + 12345) % 2147483648;
    return this.#seed >> 8;
  }
}
