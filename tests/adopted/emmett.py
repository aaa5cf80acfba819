"""Emmett: its event store in a process of Node.js (`emmett.mjs`), with streams whose names begin with the tenant."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import psycopg

from journal import digest
from library import STREAM_LENGTH, Conflict, Found, Refused, Unsure, Work, is_lost
from message_db import CATEGORY, decided
from threaded import Routes

#: What `fetch.py` unpacked.
PACKAGES = Path(__file__).parents[2] / "target" / "adopted"
PROGRAM = Path(__file__).with_name("emmett.mjs")
LINE = 1 << 24
#: The library's own word.
CONFLICT = "ExpectedVersionConflictError"


def command() -> list[str]:
    """The process with the library."""
    # In the environment of the tests.
    node = Path(sys.executable).with_name("node")
    if not node.exists() or not PACKAGES.is_dir():
        raise SystemExit(f"{node} or {PACKAGES} is missing; `./x setup` makes them")
    return [str(node), str(PROGRAM), str(PACKAGES)]


class Stores:
    """The library's store for each of ours, all in one process."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.dsns: dict[str, str] = dict(pair.split("=", 1) for pair in args.store)
        self.routes = Routes(args.routing, next(iter(self.dsns)), args.writers)
        self.process: asyncio.subprocess.Process | None = None
        self.starting = asyncio.Lock()
        self.asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.number = 0

    async def _started(self) -> asyncio.subprocess.Process:
        async with self.starting:
            if self.process is None:
                pipe = asyncio.subprocess.PIPE
                self.process = await asyncio.create_subprocess_exec(*command(), stdin=pipe, stdout=pipe, limit=LINE)
                self.reading = asyncio.create_task(self._read(self.process))
        return self.process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            answer = json.loads(line)
            self.asked.pop(answer["no"]).set_result(answer)
        for waiting in self.asked.values():
            waiting.set_exception(SystemExit("the process with the library ended"))

    async def _ask(self, tenant: str, do: str, **request: Any) -> tuple[str, dict[str, Any]]:
        """The tenant's store, and what the library answers there."""
        try:
            name = await asyncio.to_thread(self.routes.store_of, tenant)
        except psycopg.Error as error:
            raise Refused(error, error.sqlstate) from error
        process = await self._started()
        self.number += 1
        answered = self.asked[self.number] = asyncio.get_running_loop().create_future()
        asked = {"no": self.number, "do": do, "dsn": self.dsns[name], **request}
        assert process.stdin is not None
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        answer = await answered
        if "error" in answer:
            error = RuntimeError(answer["message"])
            if answer["error"].endswith(CONFLICT):
                raise Conflict(error)
            raise (Unsure if is_lost(answer["code"]) else Refused)(error, answer["code"])
        return name, answer

    async def load(self, tenant: str, name: str, dice: Random, writer: str, batch: int) -> Work | None:
        """As `Library`."""
        stream = f"{tenant}/{CATEGORY}-{name}"
        _, answer = await self._ask(tenant, "version", stream=stream)
        before: int = answer["version"]
        if before >= STREAM_LENGTH:
            return None
        events, ids = [], []
        for number in range(dice.randrange(1, batch + 1)):
            kind, data = decided(dice, before + number == 0)
            metadata = {"n": dice.randrange(1 << 40), "none": None}
            event = str(uuid4())
            events.append({"type": kind, "data": data, "metadata": {"messageId": event, **metadata}})
            ids.append({"id": event, "digest": digest({"type": kind, "data": data, "metadata": metadata})})
        return Work(tenant, stream, CATEGORY, before, ids, events)

    async def append(self, work: Work) -> Found:
        """As `Library`."""
        given = {"stream": work.stream, "expected": work.expected, "events": work.native}
        name, answer = await self._ask(work.tenant, "append", **given)
        return Found(name, len(work.native), answer["version"])

    async def find(self, work: Work) -> Found:
        """As `Library`."""
        name, answer = await self._ask(work.tenant, "read", stream=work.stream)
        ours = {event["id"] for event in work.events}
        found = [event["version"] for event in answer["events"] if event["id"] in ours]
        return Found(name, len(found), max(found, default=work.expected))

    async def close(self) -> None:
        """As `Library`."""
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            await self.process.wait()
            await self.reading
        self.routes.pool.close()


def asked(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    """What the library answers, in a process of its own."""
    lines = "".join(json.dumps({"no": number, **request}) + "\n" for number, request in enumerate(requests))
    done = subprocess.run(command(), input=lines, capture_output=True, text=True, check=True)
    answers = sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda answer: answer["no"])
    for answer in answers:
        if "error" in answer:
            raise SystemExit(f"the library did not do it: {answer}")
    return answers


def make(dsn: str) -> None:
    """Makes the library's tables by its own means."""
    asked({"do": "make", "dsn": dsn})


#: As the library reads all messages: by transactions, up to the oldest one that runs.
FEED = """SELECT stream_id, message_id FROM emt_messages
    WHERE stream_id LIKE %s || '/%%' AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY transaction_id, global_position"""


def fold(dsn: str, tenant: str) -> dict[str, Any]:
    """Reads the tenant's streams by the library, and its messages in the order of the library's consumers."""
    feed: dict[str, list[str]] = {}
    with psycopg.connect(dsn) as connection:
        for stream, message in connection.execute(FEED, (tenant,)).fetchall():
            feed.setdefault(stream, []).append(message)
    answers = asked(*({"do": "read", "dsn": dsn, "stream": stream} for stream in feed))
    streams = {stream: answer["events"] for stream, answer in zip(feed, answers, strict=True)}
    versions = asked(*({"do": "version", "dsn": dsn, "stream": stream} for stream in feed))
    heads = {stream: answer["version"] for stream, answer in zip(feed, versions, strict=True)}
    agree = all(
        [event["id"] for event in streams[stream]] == feed[stream] and heads[stream] == len(feed[stream])
        for stream in feed
    )
    return {
        "feed_events": sum(len(messages) for messages in feed.values()),
        "agree": agree,
        "aggregates": len(streams),
        "digest": hashlib.sha256(json.dumps(streams, sort_keys=True).encode()).hexdigest(),
    }
