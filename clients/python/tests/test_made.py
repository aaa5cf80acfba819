"""What is made from the description of the API is up to date, and the package has the API's version."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

CLIENTS = Path(__file__).resolve().parents[2]


def test_the_types_and_the_synchronous_client_are_those_of_the_description() -> None:
    made = subprocess.run([sys.executable, CLIENTS / "generate.py", "--check"], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout


def test_versions_are_that_of_the_api() -> None:
    document = json.loads((CLIENTS / "openapi.json").read_text())
    project = tomllib.loads((CLIENTS / "python/pyproject.toml").read_text())
    assert project["project"]["version"] == document["info"]["version"]
    workspace = tomllib.loads((CLIENTS / "../Cargo.toml").read_text())
    assert workspace["workspace"]["package"]["version"] == document["info"]["version"]


def test_it_is_typed() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-incremental"], cwd=CLIENTS / "python", capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_package_has_the_clients_and_their_types(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=CLIENTS / "python",
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        files = set(packed.namelist())
    sources = {
        str(path.relative_to(CLIENTS / "python/src")) for path in (CLIENTS / "python/src").rglob("*.py")
    }
    assert sources | {"rehome_client/py.typed"} <= files
