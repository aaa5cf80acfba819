"""Fetches the packages of a package-lock.json into a folder and checks their hashes, as `npm ci` does. Needs only Python.

    python fetch.py LOCK FOLDER
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import sys
import tarfile
import urllib.request
from pathlib import Path

REGISTRY = "https://registry.npmjs.org"


def fetched(name: str, version: str, integrity: str) -> bytes:
    """The package's archive, if it is what the lock file says."""
    url = f"{REGISTRY}/{name}/-/{name.rsplit('/', 1)[-1]}-{version}.tgz"
    with urllib.request.urlopen(url, timeout=60) as answer:
        archive: bytes = answer.read()
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != integrity:
        raise SystemExit(f"{url} has the hash {found}, not {integrity}")
    return archive


def unpack(archive: bytes, folder: Path) -> None:
    """The files in the archive's only folder, in this one."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files.getmembers():
            parts = Path(member.name).parts[1:]
            content = files.extractfile(member) if member.isfile() else None
            if not parts or ".." in parts or content is None:
                continue
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())


def main() -> int:
    lock, folder = Path(sys.argv[1]), Path(sys.argv[2])
    done = folder / "fetched.json"
    if done.is_file() and done.read_bytes() == lock.read_bytes():
        return 0
    shutil.rmtree(folder, ignore_errors=True)
    for path, package in json.loads(lock.read_text())["packages"].items():
        # The first is this project itself.
        if path:
            name = path.rsplit("node_modules/", 1)[1]
            unpack(fetched(name, package["version"], package["integrity"]), folder / path)
    shutil.copyfile(lock, done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
