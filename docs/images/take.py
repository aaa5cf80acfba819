"""Takes the screenshots of the console that the README shows, of a deployment in a temporary folder.

    cargo build -p rehome-cli
    target/python/bin/python docs/images/take.py target/debug/rehome

It needs Chromium (`./x setup` installs it), and writes the PNG files beside itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from shutil import which
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


def shot(url: str, name: str, width: int, height: int) -> None:
    chromium = which("chromium") or which("chromium-browser") or which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is missing; `./x setup` installs it")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                chromium,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--force-color-profile=srgb",
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                "--timeout=5000",
                f"--screenshot={HERE / name}",
                url,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TZ": "UTC"},
            timeout=120,
        )
    print(f"{name}: {(HERE / name).stat().st_size} bytes")


def main() -> None:
    program = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as name:
        server, url = serve(program, Path(name))
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
                time.sleep(2)
                shot(f"{url}/drains/{drain['id']}", "drain.png", 1100, 760)
                wait(client, started["id"], 3000)
                shot(f"{url}/", "overview.png", 1100, 640)
                client.tune_migration(started["id"], {"copy_rate_max": 0})
                with closing(client.watch_migration(started["id"])) as seen:
                    for found in seen:
                        if found["state"] == "dual_write" and "cutover" in found.get("allowed_actions", []):
                            break
                time.sleep(5)
                client.cut_over(started["id"])
                client.wait_for_migration(started["id"])
                time.sleep(5)
                shot(f"{url}/migrations/{started['id']}", "migration.png", 1100, 1000)
        finally:
            stop.set()
            if writer.is_alive():
                writer.join()
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
