// Emmett's event store of PostgreSQL, driven by lines of JSON: a request on standard input, its answer on standard output.
// `emmett.py` starts it. The packages are in the folder that the first argument names.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const require = createRequire(pathToFileURL(process.argv[2] + '/').href);
const { getPostgreSQLEventStore } = require('@event-driven-io/emmett-postgresql');

const stores = new Map();

const storeAt = (dsn) => {
  if (!stores.has(dsn)) stores.set(dsn, getPostgreSQLEventStore(dsn, { schema: { autoMigration: 'None' } }));
  return stores.get(dsn);
};

const seen = (event) => ({
  id: event.metadata.messageId,
  version: Number(event.metadata.streamPosition),
  type: event.type,
  data: event.data,
});

const requests = {
  // The tables, by the library's own means.
  async make({ dsn }) {
    const store = getPostgreSQLEventStore(dsn);
    await store.schema.migrate();
    await store.close();
    return {};
  },
  async version({ dsn, stream }) {
    const { currentStreamVersion } = await storeAt(dsn).readStream(stream);
    return { version: Number(currentStreamVersion) };
  },
  async append({ dsn, stream, expected, events }) {
    // With its word for a stream that is not there it does not look.
    const options = { expectedStreamVersion: BigInt(expected) };
    const done = await storeAt(dsn).appendToStream(stream, events, options);
    return { version: Number(done.nextExpectedStreamVersion) };
  },
  async read({ dsn, stream }) {
    const { events } = await storeAt(dsn).readStream(stream);
    return { events: events.map(seen) };
  },
};

// An error of the library's, or of the database with its SQLSTATE.
const failure = (error) => ({ error: error.constructor.name, code: error.code ?? null, message: String(error.message) });

// The library reads great numbers as BigInt, which JSON has no word for.
const text = (value) => JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner));

const running = new Set();
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const request = JSON.parse(line);
  const answered = requests[request.do](request)
    .catch(failure)
    .then((answer) => process.stdout.write(text({ no: request.no, ...answer }) + '\n'))
    .finally(() => running.delete(answered));
  running.add(answered);
});
lines.on('close', async () => {
  await Promise.all(running);
  await Promise.all([...stores.values()].map((store) => store.close()));
  // What a pipe did not take yet would be lost.
  process.stdout.end(() => process.exit(0));
});
