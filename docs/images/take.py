"""Takes the screenshots of the console that the README shows, of a deployment in a temporary folder.

    cargo build -p rehome-cli
    target/python/bin/python docs/images/take.py target/debug/rehome

It needs Chromium (`./x setup` installs it), and writes the PNG files beside itself.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from shutil import which
from typing import Any
from uuid import UUID, uuid5

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "../../clients/python/src"))

from rehome_client import Client  # noqa: E402

CONFIG = """
[control_plane]
url = "sqlite:control.db"
[[stores]]
id = "shared"
url = "sqlite:shared.db"
default = true
[[stores]]
id = "dedicated"
url = "sqlite:dedicated.db"
[server]
bind = "127.0.0.1:0"
"""
#: Whose ids are the same each time.
NAMES = UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")
TENANTS = [uuid5(NAMES, str(number)) for number in range(9)]


def serve(program: str, folder: Path) -> tuple[subprocess.Popen[str], str]:
    (folder / "rehome.toml").write_text(CONFIG)
    server = subprocess.Popen(
        [program, "--json", "serve"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    for line in server.stdout:
        said = json.loads(line)
        if said.get("event") == "listening":
            return server, said["url"]
    raise SystemExit("the server did not start")


def fill(client: Client) -> None:
    for number, tenant in enumerate(TENANTS):
        for stream in range(10 if number else 60):
            events = [{"event_type": "OrderPlaced", "data": {"total": n}} for n in range(100)]
            client.append(tenant, "order", f"o-{stream}", events)


def write(url: str, stop: threading.Event) -> None:
    """A writer at work, so that the charts have something to show."""
    with Client(url) as client:
        while not stop.is_set():
            client.append(TENANTS[0], "order", "live", [{"event_type": "OrderPaid", "data": {}}])
            stop.wait(0.02)


def wait(client: Client, migration: str, events: int) -> None:
    with closing(client.watch_migration(migration)) as seen:
        for found in seen:
            if (found.get("events_copied") or 0) >= events or found["state"] == "dual_write":
                return


class Browser:
    """Chromium by its driver: the page has been live for a second when it is taken."""

    def __init__(self) -> None:
        if which("chromedriver") is None:
            raise SystemExit("Chromium's driver is missing; `./x setup` installs it")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], env={**os.environ, "TZ": "UTC"}, **quiet)
        self.at = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb"]
        wanted = {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}
        self.at += "/session/" + self.call("/session", {"capabilities": wanted})["sessionId"]

    def call(self, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.at + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def shot(self, url: str, name: str, height: int) -> None:
        size = {"width": 1280, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})
        self.call("/url", {"url": url})
        time.sleep(1)
        (HERE / name).write_bytes(base64.b64decode(self.call("/screenshot", None)))
        print(f"{name}: {(HERE / name).stat().st_size} bytes")

    def close(self) -> None:
        self.driver.terminate()
        self.driver.wait()


def main() -> None:
    program = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as name:
        server, url = serve(program, Path(name))
        browser = Browser()
        stop = threading.Event()
        writer = threading.Thread(target=write, args=(url, stop))
        try:
            with Client(url) as client:
                fill(client)
                writer.start()
                options = {"cutover": "manual", "copy_rate_max": 600, "rollback_window": "24h"}
                started = client.start_migration(TENANTS[0], "dedicated", options=options, reason="a noisy neighbour")
                settings = {"copy_rate_max": 250, "concurrency": 2}
                drain = client.start_drain(["shared"], ["dedicated"], tenants=TENANTS[1:], settings=settings)
                wait(client, started["id"], 3000)
                browser.shot(f"{url}/", "overview.png", 700)
                while client.drain(drain["id"])["moved"] < 2:
                    time.sleep(0.2)
                browser.shot(f"{url}/drains/{drain['id']}", "drain.png", 760)
                client.tune_migration(started["id"], {"copy_rate_max": 0})
                with closing(client.watch_migration(started["id"])) as seen:
                    for found in seen:
                        if found["state"] == "dual_write" and "cutover" in found.get("allowed_actions", []):
                            break
                time.sleep(5)
                client.cut_over(started["id"])
                client.wait_for_migration(started["id"])
                time.sleep(5)
                browser.shot(f"{url}/migrations/{started['id']}", "migration.png", 1000)
        finally:
            browser.close()
            stop.set()
            if writer.is_alive():
                writer.join()
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
