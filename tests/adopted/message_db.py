"""Message DB: its functions in the database, called by plain SQL; the category of a stream begins with the tenant."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool, PoolTimeout

from journal import digest, sqlstate
from library import STREAM_LENGTH, Conflict, Duplicate, Found, Refused, Unsure, Work, is_lost
from threaded import Threaded

#: What `fetch.py` unpacked.
PACKAGE = Path(__file__).parents[2] / "target/adopted/node_modules/@eventide/message-db/database"
CATEGORY = "order"
WRITE = "SELECT write_message(%s, %s, %s, %s, %s, %s)"
READ = "SELECT * FROM get_stream_messages(%s, %s, %s)"
READ_CATEGORY = "SELECT * FROM get_category_messages(%s, %s, %s)"
PAGE = 500
#: The functions name each other without their schema.
OPTIONS = "-c search_path=message_store,public"


@contextmanager
def in_our_words() -> Iterator[None]:
    """The database's errors in the writers' words."""
    try:
        yield
    except psycopg.errors.RaiseException as error:
        wrong = "Wrong expected version" in str(error)
        raise (Conflict if wrong else Refused)(error, sqlstate(error)) from error
    except psycopg.errors.UniqueViolation as error:
        raise Duplicate(error, sqlstate(error)) from error
    except (psycopg.Error, PoolTimeout) as error:
        state = sqlstate(error)
        raise (Unsure if is_lost(state) else Refused)(error, state) from error


def decided(dice: Random, first: bool) -> tuple[str, dict[str, Any]]:
    """The type and the data of one message."""
    if first:
        return "Placed", {"customer": f"Zoë {dice.randrange(1000)}"}
    if dice.random() < 0.6:
        price = dice.choice([0.1, 1e-7, 1e20, 19.99, 3.0])
        options = {"Größe": dice.choice(["S", "M", "L"]), "tags": ["a", 1, 2.50, True, {}]}
        return "ItemAdded", {"sku": f"sku-{dice.randrange(9)}", "price": price, "options": options}
    text = dice.choice(['plain "quoted" \\ text', "naïve\ttab\nline", "日本語", "🙂 é"])
    return "NoteWritten", {"text": text * dice.randrange(1, 20)}


class Stores(Threaded):
    """A pool of sessions for each store."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        kwargs = {"options": OPTIONS}
        self.pools = {
            name: ConnectionPool(dsn, min_size=1, max_size=args.writers, timeout=10, kwargs=kwargs, open=True)
            for name, dsn in self.dsns.items()
        }

    def load_now(self, tenant: str, name: str, dice: Random, batch: int) -> Work | None:
        stream = f"{tenant}/{CATEGORY}-{name}"
        with in_our_words(), self.pools[self.routes.store_of(tenant)].connection() as connection:
            row = connection.execute("SELECT stream_version(%s)", (stream,)).fetchone()
        before = 0 if row is None or row[0] is None else int(row[0]) + 1
        if before >= STREAM_LENGTH:
            return None
        messages, ids = [], []
        for number in range(dice.randrange(1, batch + 1)):
            kind, data = decided(dice, before + number == 0)
            metadata = {"n": dice.randrange(1 << 40), "none": None}
            message = str(uuid4())
            messages.append((message, kind, data, metadata))
            ids.append({"id": message, "digest": digest({"type": kind, "data": data, "metadata": metadata})})
        return Work(tenant, stream, CATEGORY, before, ids, messages)

    def append_now(self, work: Work) -> Found:
        name = self.routes.store_of(work.tenant)
        # As its guide has it: several messages in one transaction, each with the version that it expects.
        with in_our_words(), self.pools[name].connection() as connection, connection.transaction():
            for number, (message, kind, data, metadata) in enumerate(work.native):
                expected = work.expected + number - 1
                given = (message, work.stream, kind, Jsonb(data), Jsonb(metadata), expected)
                connection.execute(WRITE, given)
        return Found(name, len(work.native), work.expected + len(work.native))

    def find_now(self, work: Work) -> Found:
        name = self.routes.store_of(work.tenant)
        with in_our_words(), self.pools[name].connection() as connection:
            rows = connection.execute(READ, (work.stream, work.expected, STREAM_LENGTH * 2)).fetchall()
        ours = {event["id"] for event in work.events}
        found = [int(row[3]) + 1 for row in rows if row[0] in ours]
        return Found(name, len(found), max(found, default=work.expected))

    def close_now(self) -> None:
        for pool in self.pools.values():
            pool.close()


def make(dsn: str) -> None:
    """Installs it by its own script, which asks for a superuser: it makes a role and an extension."""
    if not PACKAGE.is_dir():
        raise SystemExit(f"{PACKAGE} is missing; `./x setup` makes it")
    to = conninfo_to_dict(dsn)
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password"}
    env = {**os.environ, **{name: str(to[part]) for name, part in names.items() if to.get(part)}}
    env |= {"DATABASE_NAME": str(to["dbname"]), "CREATE_DATABASE": "off"}
    done = subprocess.run(["bash", str(PACKAGE / "install.sh")], env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"message-db was not installed: {done.stdout}{done.stderr}")


def fold(dsn: str, tenant: str) -> dict[str, Any]:
    """Reads the tenant's category as a consumer does, and each of its streams."""
    category: dict[str, list[tuple[Any, ...]]] = {}
    positions: list[int] = []
    with psycopg.connect(dsn, options=OPTIONS) as connection:
        after = 1
        while True:
            page = connection.execute(READ_CATEGORY, (f"{tenant}/{CATEGORY}", after, PAGE)).fetchall()
            for row in page:
                category.setdefault(row[1], []).append((row[0], row[2], int(row[3]), row[5], row[6]))
                positions.append(int(row[4]))
            if len(page) < PAGE:
                break
            after = positions[-1] + 1
        streams = {}
        for name in category:
            rows = connection.execute(READ, (name, 0, STREAM_LENGTH * 2)).fetchall()
            streams[name] = [(row[0], row[2], int(row[3]), row[5], row[6]) for row in rows]
    return {
        "feed_events": len(positions),
        "agree": category == streams and positions == sorted(positions),
        "aggregates": len(streams),
        "digest": hashlib.sha256(json.dumps(streams, sort_keys=True).encode()).hexdigest(),
    }
