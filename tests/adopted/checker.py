"""Compares the writers' journals with the tables, with its own SQL."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from journal import say
from tables import TABLES, Row, Seen, Table

#: What is wrong, in the order of the report.
WRONG = ["lost", "duplicated", "reordered", "changed", "strays", "denied", "differing", "foreign", "holes"]

@dataclass
class Operation:
    """One append, over all its attempts."""

    tenant: str
    stream: str
    type: str
    expected: int
    events: list[dict[str, str]]
    since: float
    #: Whether it was acknowledged, or found there after a lost answer.
    acked: bool = False
    #: Whether some attempt's answer is not known.
    unknown: bool = False
    #: Whether the last attempt has an answer at all.
    answered: bool = False
    acked_at: float | None = None


@dataclass
class Journals:
    """What the journals of all writers say about one tenant."""

    operations: dict[str, Operation] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    stores: Counter[str] = field(default_factory=Counter)
    torn: int = 0

    def read(self, line: bytes, tenant: str, before: bool = True) -> None:
        """Takes one line; one that a killed process left unfinished is counted, and nothing else.

        A line that came after the tables were read tells of an attempt, but its outcome decides nothing.
        """
        try:
            record = json.loads(line)
        except ValueError:
            self.torn += 1
            return
        if record.get("tenant") != tenant or "op" not in record:
            return
        name, kind = record["op"], record["kind"]
        if kind == "attempt":
            known = self.operations.get(name)
            if known is None:
                known = self.operations[name] = Operation(
                    tenant, record["stream"], record["type"], record["expected"], record["events"], record["mono_ms"]
                )
            known.answered = False
            return
        if not before:
            return
        operation = self.operations[name]
        operation.answered = True
        if kind == "acked" or (kind == "truth" and record["there"]):
            operation.acked, operation.acked_at = True, record["mono_ms"]
            self.stores[record.get("store", "")] += 1
        elif kind == "unknown":
            operation.unknown = True
        elif kind == "refused":
            self.refused[str(record["sqlstate"])] += 1


class Findings:
    """Counts, and the first of each kind in words."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.details: list[dict[str, Any]] = []

    def add(self, kind: str, **details: Any) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= 5:
            self.details.append({"kind": kind, **details})


def by_stream(rows: list[Seen]) -> dict[tuple[str, str], list[Seen]]:
    """The events of each stream, by version."""
    streams: dict[tuple[str, str], list[Seen]] = defaultdict(list)
    for event in rows:
        streams[event.stream, event.type].append(event)
    for stream in streams.values():
        stream.sort(key=lambda event: (event.version, event.position))
    return streams


def check_authority(journals: Journals, rows: list[Seen], findings: Findings) -> None:
    """Everything acknowledged is there once, in order and unchanged; nothing else is."""
    found: dict[str, list[Seen]] = defaultdict(list)
    for event in rows:
        found[event.id].append(event)
    for event_id, same in found.items():
        if len(same) > 1:
            findings.add("duplicated", event=event_id, positions=[event.position for event in same])
    expected: dict[str, tuple[Operation, int, str]] = {}
    for operation in journals.operations.values():
        for number, given in enumerate(operation.events, 1):
            expected[given["id"]] = (operation, operation.expected + number, given["digest"])
            if operation.acked and given["id"] not in found:
                findings.add("lost", event=given["id"], stream=operation.stream, version=operation.expected + number)
    for event_id, same in found.items():
        event = same[0]
        where = {"event": event_id, "stream": event.stream, "version": event.version}
        if event_id not in expected:
            findings.add("strays", **where)
            continue
        operation, version, wanted = expected[event_id]
        # An attempt without an answer may have been carried out: its writer was killed.
        if not operation.acked and not operation.unknown and operation.answered:
            findings.add("denied", **where)
        if (event.stream, event.type) != (operation.stream, operation.type):
            findings.add("changed", **where, wanted=operation.stream)
        elif event.digest != wanted:
            findings.add("changed", **where)
        if event.version != version:
            findings.add("reordered", **where, wanted=version)
    for (stream, _), events in by_stream(rows).items():
        versions = [event.version for event in events]
        if versions != list(range(1, len(events) + 1)):
            findings.add("reordered", stream=stream, versions=versions[:50])
        positions = [event.position for event in events]
        if positions != sorted(positions):
            findings.add("reordered", stream=stream, positions=positions[:50])


def check_other(rows: list[Row], other: list[Row], table: Table, own: Sequence[str], findings: Findings) -> int:
    """Every row of the other store is the authority's, equal in every column but the store's own."""
    found = {table.see(row).id: row for row in rows}
    common = 0
    for row in other:
        event = table.see(row)
        where = {"event": event.id, "stream": event.stream, "version": event.version}
        twin = found.get(event.id)
        if twin is None:
            findings.add("foreign", **where)
            continue
        common += 1
        unequal = [name for name in row.keys() | twin.keys() if name not in own and row.get(name) != twin.get(name)]
        if unequal:
            findings.add("differing", **where, columns=sorted(unequal))
    return common


def check_prefix(other: list[Seen], findings: Findings) -> None:
    """Each stream is there from its beginning."""
    for (stream, _), events in by_stream(other).items():
        versions = [event.version for event in events]
        if versions != list(range(1, len(events) + 1)):
            findings.add("holes", stream=stream, versions=versions[:50])


def check(
    journals: Journals,
    rows: list[Row],
    other: list[Row] | None,
    table: Table = TABLES["eventsource-py"],
    own: Sequence[str] = (),
    prefix: bool = False,
) -> dict[str, Any]:
    """The report about one tenant."""
    findings = Findings()
    seen = [table.see(row) for row in rows]
    check_authority(journals, seen, findings)
    common = None if other is None else check_other(rows, other, table, own or table.own, findings)
    if other is not None and prefix:
        check_prefix([table.see(row) for row in other], findings)
    operations = journals.operations.values()
    acked = [operation for operation in operations if operation.acked]
    at = sorted(operation.acked_at for operation in acked if operation.acked_at is not None)
    waits = [operation.acked_at - operation.since for operation in acked if operation.acked_at is not None]
    undecided = [o for o in operations if not o.acked and (o.unknown or not o.answered)]
    return {
        "ok": not findings.counts,
        **{kind: findings.counts[kind] for kind in WRONG},
        "acked": sum(len(operation.events) for operation in acked),
        "acked_appends": len(acked),
        "undecided": sum(len(operation.events) for operation in undecided),
        "rows": len(rows),
        "other_rows": None if other is None else len(other),
        "common_rows": common,
        "streams": len(by_stream(seen)),
        "refused": dict(journals.refused),
        "acked_by_store": dict(journals.stores),
        "torn_lines": journals.torn,
        "longest_wait_ms": round(max(waits, default=0.0), 3),
        "longest_gap_ms": round(max((b - a for a, b in zip(at, at[1:], strict=False)), default=0.0), 3),
        "details": findings.details,
    }


async def rows_of(dsn: str, tenant: str, table: Table) -> list[Row]:
    """The tenant's rows, each column as PostgreSQL writes it."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 3")
        name = await connection.fetchval("SELECT $1::text::regclass::text", table.name)
        columns = await connection.fetch(
            """SELECT attname AS name, quote_ident(attname) AS quoted FROM pg_attribute
               WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped""",
            table.name,
        )
        texts = ", ".join(f"{column['quoted']}::text" for column in columns)
        sql = f"SELECT {texts} FROM {name} WHERE {table.of_tenant} ORDER BY {table.position}"
        return [dict(row) for row in await connection.fetch(sql, tenant)]
    finally:
        await connection.close()


def read_journals(sizes: dict[str, int], tenant: str) -> Journals:
    """The journals' lines about the tenant; `sizes` is what they had before the tables were read."""
    journals = Journals()
    for path, size in sizes.items():
        with open(path, "rb") as lines:
            read = 0
            for line in lines:
                read += len(line)
                journals.read(line, tenant, before=read <= size)
    return journals


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--journal", action="append", required=True, metavar="FILE")
    parser.add_argument("--library", choices=TABLES, default="eventsource-py")
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--authority", required=True, metavar="DSN", help="the store that has the tenant now")
    parser.add_argument("--other", metavar="DSN", help="the store that has not")
    parser.add_argument("--prefix", action="store_true", help="the other has each stream from its beginning, if at all")
    parser.add_argument("--own", action="append", metavar="COLUMN", help="differs between the stores, instead of what does in that library")
    args = parser.parse_args()
    # Writers may be active: later acknowledgements are not compared with the tables.
    sizes = {path: os.path.getsize(path) for path in args.journal}
    table = TABLES[args.library]
    rows = await rows_of(args.authority, args.tenant, table)
    other = await rows_of(args.other, args.tenant, table) if args.other else None
    journals = read_journals(sizes, args.tenant)
    report = check(journals, rows, other, table, args.own or (), args.prefix)
    say(report)
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
