"""Reads a tenant by the library's own means, and runs the library's conformance suites against a database."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from eventsource import AggregateRepository, FeedReadOptions, Position, PostgreSQLEventStore, StreamId, collect

from common import CATEGORY, Order, engine
from journal import say


def state_digest(orders: list[Order]) -> str:
    """The hash of all aggregates: which they are, their versions and their folded states."""
    states = sorted((str(order.aggregate_id), order.version, order.state.model_dump(mode="json")) for order in orders)
    return hashlib.sha256(json.dumps(states, sort_keys=True).encode()).hexdigest()


async def feed(store: PostgreSQLEventStore, tenant: UUID, page: int, after: Position | None) -> list[Any]:
    """The tenant's events of the store's feed, page by page, each from the position of the last."""
    found: list[Any] = []
    while True:
        options = FeedReadOptions(tenant_id=tenant, limit=page)
        envelopes = await collect(store.read_all(after, options))
        found += envelopes
        if len(envelopes) < page:
            return found
        after = envelopes[-1].position


async def fold(args: argparse.Namespace) -> int:
    """Rebuilds the aggregates twice: from the feed, and each from its stream."""
    made = engine(args.dsn)
    try:
        store = PostgreSQLEventStore(made, store_id=args.store_id)
        after = Position(args.store_id, (args.after,)) if args.after is not None else None
        envelopes = await feed(store, args.tenant, args.page, after)
        positions = [envelope.position for envelope in envelopes]
        history: dict[UUID, list[Any]] = {}
        for envelope in envelopes:
            history.setdefault(envelope.stream_id.aggregate_id, []).append(envelope)
        document: dict[str, Any] = {
            "feed_events": len(envelopes),
            "feed_ascending": all(a < b for a, b in zip(positions, positions[1:], strict=False)),
            "first_position": positions[0].key[0] if positions else None,
            "last_position": positions[-1].key[0] if positions else None,
        }
        if after is None:
            from_feed, from_streams, events = [], [], 0
            for identity, stream in history.items():
                order = Order(identity)
                order.load_from_history([envelope.event for envelope in stream])
                from_feed.append(order)
                read = await collect(store.read_stream(StreamId(identity, CATEGORY)))
                events += len(read)
                from_streams.append(await AggregateRepository(store, Order).load(identity))
            document |= {
                "aggregates": len(history),
                "stream_events": events,
                "digest": state_digest(from_streams),
                "feed_digest": state_digest(from_feed),
            }
            document["agree"] = document["digest"] == document["feed_digest"] and document["feed_ascending"]
        say(document)
        return 0 if document.get("agree", document["feed_ascending"]) else 1
    finally:
        await made.dispose()


class Counter:
    """A pytest plugin that counts outcomes and keeps what failed."""

    def __init__(self) -> None:
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures: list[dict[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] += 1
        if report.outcome == "failed":
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else str(report.longrepr)
            self.failures.append({"test": report.nodeid, "when": report.when, "message": message[:500]})


def conformance(args: argparse.Namespace) -> int:
    """Runs the suites of `conformance_suite.py`; pytest's own words go to standard error."""
    os.environ["ADOPTED_DSN"] = args.dsn
    if args.tenant:
        os.environ["ADOPTED_TENANT"] = str(args.tenant)
    here = Path(__file__).resolve().parent
    counter = Counter()
    options = ["-q", "--rootdir", str(here), "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-c", os.devnull]
    options += ["-o", "asyncio_default_fixture_loop_scope=function"]
    options += ["-k", args.only] if args.only else []
    with contextlib.redirect_stdout(sys.stderr):
        code = pytest.main([*options, str(here / "conformance_suite.py")], plugins=[counter])
    say({"ok": code == 0, "exit": int(code), **counter.counts, "failures": counter.failures})
    return int(code)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    folding = commands.add_parser("fold", help="rebuild the tenant's aggregates")
    folding.add_argument("dsn")
    folding.add_argument("--tenant", type=UUID, required=True)
    folding.add_argument("--store-id", default="store")
    folding.add_argument("--page", type=int, default=500)
    folding.add_argument("--after", type=int, help="only read the feed after this position, as a subscriber goes on")
    folding.set_defaults(run=lambda args: asyncio.run(fold(args)))
    suites = commands.add_parser("conformance", help="run the library's conformance suites")
    suites.add_argument("dsn")
    suites.add_argument("--tenant", type=UUID, help="write all its events for this tenant")
    suites.add_argument("--only", metavar="EXPRESSION", help="as pytest's -k")
    suites.set_defaults(run=conformance)
    args = parser.parse_args()
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
