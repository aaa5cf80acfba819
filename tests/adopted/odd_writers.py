"""A writer in plain SQL that does one step for each line of its input, so that a test can force an interleaving.

Each answer is one JSON line: `{"ok": true, ...}`, or `{"ok": false, "sqlstate": ..., "message": ...}`.
It journals as the other writers do, so that the checker knows its events. The README has the commands.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
from eventsource.adapters.serialization import json_dumps
from eventsource.domain.event import DomainEvent

from common import CATEGORY, event_digest, new_event
from eventsource_py import LOST, is_unsure
from journal import Journal, say, short, sqlstate

COLUMNS = [
    "event_id", "event_type", "aggregate_type", "aggregate_id", "tenant_id",
    "actor_id", "version", "timestamp", "payload", "created_at",
]  # fmt: skip
# The library's own statement.
INSERT = f"""
    INSERT INTO events ({", ".join(COLUMNS)})
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NOW()) RETURNING global_position"""
HEAD = "SELECT coalesce(max(version), 0) FROM events WHERE aggregate_id = $1 AND aggregate_type = $2"
TENANT = "SELECT count(*) AS events, coalesce(max(global_position), 0) AS position FROM events WHERE tenant_id = $1"


def row(event: DomainEvent, version: int) -> list[Any]:
    """The columns of an event, as the library gives them."""
    return [
        event.event_id, event.event_type, CATEGORY, event.aggregate_id, event.tenant_id,
        event.actor_id, version, event.occurred_at, json_dumps(event.model_dump(mode="json")),
    ]  # fmt: skip


class Odd:
    """One connection and what it has written that is not decided yet."""

    def __init__(self, connection: asyncpg.Connection, journal: Journal) -> None:
        self.connection = connection
        self.journal = journal
        self.dice = Random(secrets.randbits(64))
        self.tag = f"odd-{secrets.token_hex(4)}"
        self.operations = 0
        self.in_transaction = False
        #: Operations of the open transaction, and of each prepared one.
        self.open: list[dict[str, Any]] = []
        self.prepared: dict[str, list[dict[str, Any]]] = {}
        self.savepoints: list[tuple[str, int]] = []
        self.statement: Any = None

    # Transactions ---------------------------------------------------------------------------------

    async def begin(self, *isolation: str) -> dict[str, Any]:
        """`begin [ISOLATION]`: its snapshot is taken by its first query, as ever."""
        level = f" ISOLATION LEVEL {' '.join(isolation)}" if isolation else ""
        await self.connection.execute(f"BEGIN{level}")
        self.in_transaction = True
        return {}

    async def commit(self) -> dict[str, Any]:
        """`commit`: everything that was written since `begin` is acknowledged, or refused."""
        status = await self._end("COMMIT", self.open)
        # PostgreSQL answers the COMMIT of a transaction that failed with ROLLBACK, and no error.
        committed = status == "COMMIT"
        self._decide(self.open, committed, status)
        self._closed()
        return {"committed": committed}

    async def rollback(self) -> dict[str, Any]:
        """`rollback`."""
        await self.connection.execute("ROLLBACK")
        self._decide(self.open, False, "rolled back")
        self._closed()
        return {}

    async def savepoint(self, name: str) -> dict[str, Any]:
        """`savepoint NAME`."""
        await self.connection.execute(f"SAVEPOINT {name}")
        self.savepoints.append((name, len(self.open)))
        return {}

    async def rollback_to(self, name: str) -> dict[str, Any]:
        """`rollback-to NAME`: what was written since is refused."""
        await self.connection.execute(f"ROLLBACK TO SAVEPOINT {name}")
        while self.savepoints[-1][0] != name:
            self.savepoints.pop()
        kept = self.savepoints[-1][1]
        self._decide(self.open[kept:], False, "rolled back to a savepoint")
        del self.open[kept:]
        return {}

    async def release(self, name: str) -> dict[str, Any]:
        """`release NAME`."""
        await self.connection.execute(f"RELEASE SAVEPOINT {name}")
        while self.savepoints.pop()[0] != name:
            pass
        return {}

    async def prepare(self, gid: str) -> dict[str, Any]:
        """`prepare GID`: PREPARE TRANSACTION."""
        status = await self._end(f"PREPARE TRANSACTION '{gid}'", self.open)
        prepared = status == "PREPARE TRANSACTION"
        if prepared:
            self.prepared[gid] = self.open
        else:
            self._decide(self.open, False, status)
        self._closed()
        return {"prepared": prepared}

    async def commit_prepared(self, gid: str) -> dict[str, Any]:
        """`commit-prepared GID`, also of another process's, whose events then stay unknown to us."""
        operations = self.prepared.get(gid, [])
        await self.connection.execute(f"COMMIT PREPARED '{gid}'")
        self._decide(operations, True, "")
        self.prepared.pop(gid, None)
        return {}

    async def rollback_prepared(self, gid: str) -> dict[str, Any]:
        """`rollback-prepared GID`."""
        await self.connection.execute(f"ROLLBACK PREPARED '{gid}'")
        self._decide(self.prepared.pop(gid, []), False, "rolled back")
        return {}

    async def _end(self, statement: str, operations: list[dict[str, Any]]) -> str:
        """Ends the transaction; if the answer is lost, its operations are unknown."""
        try:
            return await self.connection.execute(statement)
        except (asyncpg.PostgresError, *LOST) as error:
            self._failed(operations, error)
            self._closed()
            raise

    def _closed(self) -> None:
        self.open, self.savepoints, self.in_transaction = [], [], False

    def _failed(self, operations: list[dict[str, Any]], error: Exception) -> None:
        """Journals the result of operations after an error: refused, or unknown."""
        kind = "unknown" if is_unsure(error) else "refused"
        for operation in operations:
            self.journal.write(kind, **operation, sqlstate=sqlstate(error), message=short(error))

    def _decide(self, operations: list[dict[str, Any]], committed: bool, why: str) -> None:
        for operation in operations:
            if committed:
                self.journal.write("acked", **operation)
            else:
                self.journal.write("refused", **operation, sqlstate=None, message=why)

    # Writes ---------------------------------------------------------------------------------------

    async def _version(self, stream: UUID, given: str) -> int:
        if given != "next":
            return int(given)
        return int(await self.connection.fetchval(HEAD, stream, CATEGORY)) + 1

    def _attempt(self, tenant: UUID, stream: UUID, events: list[DomainEvent], first: int) -> dict[str, Any]:
        self.operations += 1
        operation = {"op": f"{self.tag}-{self.operations}", "tenant": str(tenant), "stream": str(stream)}
        ids = [{"id": str(event.event_id), "digest": event_digest(event)} for event in events]
        self.journal.write("attempt", **operation, type=CATEGORY, expected=first - 1, attempt=1, events=ids)
        return {**operation, "version": first + len(events) - 1}

    async def _write(self, tenant: UUID, stream: UUID, events: list[DomainEvent], first: int, write: Any) -> Any:
        operation = self._attempt(tenant, stream, events, first)
        try:
            answer = await write
        except (asyncpg.PostgresError, *LOST) as error:
            self._failed([operation], error)
            raise
        if self.in_transaction:
            self.open.append(operation)
        else:
            self._decide([operation], True, "")
        return answer

    async def insert(self, tenant: str, stream: str, version: str = "next") -> dict[str, Any]:
        """`insert TENANT STREAM [VERSION]`: one event; at once acknowledged if no transaction is open."""
        at = await self._version(UUID(stream), version)
        event = new_event(UUID(tenant), UUID(stream), at, self.dice)
        run = self.statement.fetchval if self.statement else self.connection.fetchval
        arguments = row(event, at) if self.statement else [INSERT, *row(event, at)]
        position = await self._write(UUID(tenant), UUID(stream), [event], at, run(*arguments))
        return {"event": event.event_id, "version": at, "position": position}

    async def copy(self, tenant: str, stream: str, count: str, version: str = "next") -> dict[str, Any]:
        """`copy TENANT STREAM COUNT [VERSION]`: so many events by COPY."""
        first = await self._version(UUID(stream), version)
        versions = range(first, first + int(count))
        events = [new_event(UUID(tenant), UUID(stream), at, self.dice) for at in versions]
        records = [[*row(event, at), event.occurred_at] for event, at in zip(events, versions, strict=True)]
        write = self.connection.copy_records_to_table("events", records=records, columns=COLUMNS)
        await self._write(UUID(tenant), UUID(stream), events, first, write)
        return {"events": [event.event_id for event in events], "version": versions[-1]}

    async def warm(self) -> dict[str, Any]:
        """`warm`: prepares the INSERT now, for a connection that then sleeps."""
        self.statement = await self.connection.prepare(INSERT)
        return {}

    # Reads ----------------------------------------------------------------------------------------

    async def read(self, tenant: str) -> dict[str, Any]:
        """`read TENANT`: how many events it has; takes the snapshot of a REPEATABLE READ transaction."""
        return dict(await self.connection.fetchrow(TENANT, UUID(tenant)))

    async def pid(self) -> dict[str, Any]:
        """`pid`: the backend's process id."""
        return {"pid": self.connection.get_server_pid()}

    async def sql(self, *words: str) -> dict[str, Any]:
        """`sql STATEMENT`: any one statement; not journalled."""
        rows = await self.connection.fetch(" ".join(words))
        return {"rows": [list(map(str, found.values())) for found in rows]}


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn")
    parser.add_argument("--journal", required=True, metavar="FILE")
    parser.add_argument("--timeout", type=float, default=60.0, help="of a statement, in seconds")
    args = parser.parse_args()
    connection = await asyncpg.connect(args.dsn, command_timeout=args.timeout)
    odd = Odd(connection, Journal(args.journal))
    say({"ok": True, "ready": True, **await odd.pid()})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        words = line.split()
        if not words:
            continue
        if words[0] == "quit":
            break
        command = getattr(odd, words[0].replace("-", "_"), None)
        if command is None or words[0].startswith("_"):
            say({"ok": False, "sqlstate": None, "message": f"no command {json.dumps(words[0])}"})
            continue
        try:
            say({"ok": True, **await command(*words[1:])})
        except asyncpg.PostgresError as error:
            fields = error.as_dict()
            answer = {"ok": False, "sqlstate": sqlstate(error), "message": fields.get("message")}
            say({**answer, "detail": fields.get("detail"), "hint": fields.get("hint")})
        except LOST as error:
            # A statement that took too long leaves the connection as it is.
            lost = not isinstance(error, TimeoutError) or connection.is_closed()
            say({"ok": False, "sqlstate": None, "lost": lost, "message": short(error)})
        except (TypeError, ValueError) as error:
            say({"ok": False, "sqlstate": None, "message": f"{words[0]}: {error}"})
    if not connection.is_closed():
        await connection.close(timeout=5)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
