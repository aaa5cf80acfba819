"""The image: every step of the Dockerfile, carried out by buildah, and the server started from what it made, as the
image's user, with the image's command and health check.

The base images are replaced: the final one by a Debian of the build machine's release that `./x setup` made, the
compiler's by the same with a stand-in for cargo, which checks its arguments and the sources that it gets and puts the
command of a build for tests where cargo puts it. A test in Rust runs this file in namespaces of its own: nothing here reaches a
network, and the server has port 7411 for itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = ROOT / "target/debian"
DOCKER = ROOT / "packaging/docker"
#: Longest wait for the server; only a failing test waits for it.
PATIENCE = 60.0

#: Of the compiler's image: who builds must get the sources, and nothing that a build or git left.
CARGO = """#!/bin/sh
set -eu
fail() { echo "cargo: $*" >&2; exit 1; }
[ "$*" = "build --release --locked --package rehome-cli" ] || fail "other arguments: $*"
for file in Cargo.lock crates/cli/Cargo.toml clients/openapi.json; do
    [ -f "$file" ] || fail "$file is not in the context"
done
for left in target .git; do
    [ ! -e "$left" ] || fail "$left is in the context"
done
[ "${REHOME_COMMIT:-}" = 0123456789ab ] || fail "the commit is not in the environment"
mkdir -p target/release
cp /given/rehome target/release/rehome
"""
STRIP = """#!/bin/sh
[ "$*" = target/release/rehome ]
"""
BASES = {
    "debian": """FROM scratch
ADD root.tar /
COPY packages /packages
RUN rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* \\
    && echo "deb [trusted=yes] file:/packages ./" >/etc/apt/sources.list
""",
    "compiler": """FROM localhost/debian
COPY cargo strip /usr/local/bin/
COPY rehome /given/rehome
""",
}
CONFIG = """
[control_plane]
url = "sqlite:/var/lib/rehome/control.db"
[[stores]]
id = "shared"
url = "sqlite:/var/lib/rehome/shared.db"
default = true
[server]
bind = "0.0.0.0:7411"
without_tls = true
"""


class Image:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.container = ""
        self.config: dict[str, Any] = {}
        self.health: dict[str, Any] = {}

    def command(self, *arguments: str) -> list[str]:
        storage = ["--storage-driver", "vfs", "--root", str(self.folder / "root"), "--runroot", str(self.folder / "run")]
        return ["buildah", *storage, *arguments]

    def buildah(self, *arguments: str) -> str:
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=self.folder
        )
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def build(self, name: str, file: Path, context: Path, *more: str) -> None:
        options = ["--isolation", "chroot", "--format", "docker", "--pull-never", *more]
        self.buildah("build", *options, "--file", str(file), "--tag", f"localhost/{name}", str(context))

    def make(self, binary: Path) -> None:
        """Builds the image, and a container of it."""
        bases = self.folder / "bases"
        bases.mkdir()
        for source, name in ((DEBIAN / "root.tar", "root.tar"), (binary, "rehome")):
            subprocess.run(["cp", "--reflink=auto", source, bases / name], check=True)
        subprocess.run(["cp", "-R", DEBIAN / "packages", bases / "packages"], check=True)
        for name, text in (("cargo", CARGO), ("strip", STRIP)):
            (bases / name).write_text(text)
            (bases / name).chmod(0o755)
        for name, text in BASES.items():
            file = self.folder / f"{name}.Dockerfile"
            file.write_text(text)
            self.build(name, file, bases)
        lines = (DOCKER / "Dockerfile").read_text().splitlines()
        replaced = {"rust:": "FROM localhost/compiler AS build", "debian:": "FROM localhost/debian"}
        for number, line in enumerate(lines):
            if line.startswith("FROM "):
                (base,) = [name for name in replaced if line.startswith(f"FROM {name}")]
                lines[number] = replaced.pop(base)
        assert not replaced, f"no stage begins with {replaced}"
        file = self.folder / "Dockerfile"
        file.write_text("\n".join(lines) + "\n")
        more = ["--ignorefile", str(DOCKER / "Dockerfile.dockerignore"), "--build-arg", "REHOME_COMMIT=0123456789ab"]
        self.build("rehome", file, ROOT, *more)
        self.container = self.buildah("from", "--pull-never", "localhost/rehome").strip()
        said = json.loads(self.buildah("inspect", "--type", "image", "localhost/rehome"))
        self.config = said["OCIv1"]["config"]
        self.health = said["Docker"]["config"]["Healthcheck"]

    def run(self, *words: str) -> list[str]:
        """A command in the container, as the image's user and in its folder."""
        config = f"{self.folder / 'rehome.toml'}:/etc/rehome/rehome.toml:ro"
        return self.command("run", "--isolation", "chroot", "--volume", config, self.container, "--", *words)

    def output(self, *words: str) -> str:
        done = subprocess.run(self.run(*words), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def rehome(self, *arguments: str) -> str:
        """What `docker run IMAGE ARGUMENTS` prints."""
        return self.output(*self.config["Entrypoint"], *arguments)


def loopback() -> None:
    """Brings up the loopback interface of this namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up_and_running = 0x1 | 0x40
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", up_and_running))


def servers() -> list[Path]:
    """The processes of the server in this namespace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except FileNotFoundError:
            continue
        if Path(words[0].decode()).name == "rehome" and b"serve" in words:
            found.append(process)
    return found


def status(process: Path, name: str) -> list[str]:
    lines = (process / "status").read_text().splitlines()
    return next(line.split()[1:] for line in lines if line.startswith(f"{name}:"))


def healthy(image: Image) -> bool:
    kind, *words = image.health["Test"]
    assert kind == "CMD"
    return subprocess.run(image.run(*words), stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    assert os.getpid() == 1, "not in namespaces of its own: run it by `cargo test -p rehome-tests --test packaging image`"
    loopback()
    with tempfile.TemporaryDirectory(prefix="rehome-image-") as name:
        # What is built takes some GB for a minute, and nothing of it is kept.
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", name], check=True)
        try:
            made = Image(Path(name))
            made.make(Path(os.environ["REHOME_BINARY"]))
            (made.folder / "rehome.toml").write_text(CONFIG)
            (made.folder / "rehome.toml").chmod(0o644)
            yield made
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


def test_the_image_serves_as_its_user_with_its_command_and_is_healthy(image: Image) -> None:
    assert image.config["Entrypoint"] == ["rehome"]
    assert image.config["User"] == "10001:10001"
    assert image.config["WorkingDir"] == "/var/lib/rehome"
    assert "/var/lib/rehome" in image.config["Volumes"] and "7411/tcp" in image.config["ExposedPorts"]
    assert image.config["StopSignal"] == "SIGTERM"
    assert image.rehome("--version").startswith("rehome ")

    # As compose.yaml has it: a token first, without which nothing listens on an address that others reach.
    local = ("--local", "--config", "/etc/rehome/rehome.toml", "--json")
    token = json.loads(image.rehome(*local, "token", "create", "--role", "admin", "--name", "me"))["token"]
    assert not healthy(image)

    log = (image.folder / "serve.log").open("w")
    words = image.run(*image.config["Entrypoint"], *image.config["Cmd"])
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not healthy(image):
            assert server.poll() is None, (image.folder / "serve.log").read_text()
            assert time.monotonic() < deadline, (image.folder / "serve.log").read_text()
        (process,) = servers()
        assert set(status(process, "Uid")) == set(status(process, "Gid")) == {"10001"}
        # The trust anchors and the OpenSSL that the image installed are there for TLS to PostgreSQL.
        mapped = (process / "maps").read_text()
        assert "libssl.so.3" in mapped
        assert (process / "root/etc/ssl/certs/ca-certificates.crt").stat().st_size > 100_000
        with_token = ("env", f"REHOME_TOKEN={token}", "rehome", "--server", "http://127.0.0.1:7411", "--json")
        stores = image.output(*with_token, "store", "check")
        assert [store["id"] for store in json.loads(stores)["stores"]] == ["shared"], stores
    finally:
        for process in servers():
            os.kill(int(process.name), signal.SIGTERM)
        ended = server.wait(PATIENCE)
        log.close()
    assert ended == 0, (image.folder / "serve.log").read_text()
