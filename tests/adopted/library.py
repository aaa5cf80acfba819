"""What the writers ask of a library: to load a stream and decide, to append, and to look whether an append is there."""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

#: The modules beside this one, each with a class `Stores`.
LIBRARIES = {
    "eventsource-py": "eventsource_py",
    "pyeventsourcing": "pyeventsourcing",
    "message-db": "message_db",
    "emmett": "emmett",
}
#: A stream takes no more events than this; its writers then go on with the next stream.
STREAM_LENGTH = 40


@dataclass
class Work:
    """One append: what a command decided about a stream that was loaded."""

    tenant: str
    #: As its table names the stream.
    stream: str
    type: str
    #: The stream's length before it.
    expected: int
    #: The id and the digest of each event.
    events: list[dict[str, str]]
    #: The same in the library's own words.
    native: Any


@dataclass
class Found:
    """Where an append is, or would be."""

    store: str
    events: int
    version: int
    position: int | None = None


class Failed(Exception):
    """The library did not do it. `sqlstate` is the database's word, if it is one."""

    def __init__(self, error: BaseException, sqlstate: str | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.sqlstate = sqlstate


class Refused(Failed):
    """Nothing was written."""


class Unsure(Failed):
    """It may be written all the same."""


# After these the transaction may have committed all the same: the connection went, or the statement
# that was cancelled may have been COMMIT.
LOST = ("08", "57P", "57014", "58", "XX", "25P03")


def is_lost(state: str | None) -> bool:
    """Whether it is not known what became of a transaction that ended with this SQLSTATE, or with none."""
    return state is None or state.startswith(LOST)


class Conflict(Failed):
    """Somebody else was first, or an earlier try of ours."""

    #: An event of ours is there: it was an earlier try.
    ours = False


class Duplicate(Conflict):
    """An event of this id is there."""

    ours = True


class Library(Protocol):
    """A library over its stores, with what tells it where a tenant is."""

    async def load(self, tenant: str, name: str, dice: Random, writer: str, batch: int) -> Work | None:
        """Loads a stream and decides one to `batch` events. None: it is full. Raises `Failed`."""

    async def append(self, work: Work) -> Found:
        """Appends where the tenant is. Raises one of the kinds of `Failed`."""

    async def find(self, work: Work) -> Found:
        """How many events of the append are where the tenant is. Raises `Failed`."""

    async def close(self) -> None:
        """Gives its connections back."""


def open_library(args: argparse.Namespace) -> Any:
    """The library that `--library` names, over the stores of the command line."""
    return importlib.import_module(LIBRARIES[args.library]).Stores(args)
