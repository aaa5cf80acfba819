"""Concurrent writers of one process, which use the library as documented and journal what they are told."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
from eventsource import (
    AggregateRepository,
    DomainEvent,
    DuplicateEventError,
    ExpectedVersion,
    OptimisticLockError,
    PostgreSQLEventStore,
    StreamId,
)
from eventsource.adapters.sql.migration import PostgreSQLTenantRoutingRepository
from eventsource.application.migration import TenantStoreRouter
from eventsource.application.migration.router import WritePausedError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from common import CATEGORY, STREAM_LENGTH, Journal, Order, engine, event_digest, now_ms, say, sqlstate, stream_id

# After these the transaction may have committed all the same: the connection went, or the statement
# that was cancelled may have been COMMIT.
UNSURE = ("08", "57P", "57014", "58", "XX", "25P03")
# The driver's last kind is what a statement gets while the driver still takes note that its connection ended.
LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError)


def is_unsure(error: BaseException) -> bool:
    """Whether an append that failed so may have committed."""
    state = sqlstate(error)
    if state is not None:
        return state.startswith(UNSURE)
    return isinstance(error, (DBAPIError, SQLAlchemyError, *LOST))


class Stores:
    """The library's router over its stores, each with an engine of its own."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.engines: list[AsyncEngine] = []
        self.stores: dict[str, PostgreSQLEventStore] = {}
        for pair in args.store:
            name, dsn = pair.split("=", 1)
            made = self._engine(args, dsn, args.isolation)
            self.stores[name] = PostgreSQLEventStore(made, store_id=name, outbox_enabled=args.outbox)
        self.routing_engine = self._engine(args, args.routing, None)
        self.routing = PostgreSQLTenantRoutingRepository(
            self.routing_engine, enable_cache=args.cache_ttl > 0, cache_ttl_seconds=args.cache_ttl or 5.0
        )
        self.default = next(iter(self.stores))
        self.router = TenantStoreRouter(
            self.stores[self.default], self.routing, stores=dict(self.stores), default_store_id=self.default
        )

    def _engine(self, args: argparse.Namespace, dsn: str, isolation: str | None) -> AsyncEngine:
        made = engine(dsn, isolation=isolation, pool=args.writers + 2, timeout=args.timeout)
        self.engines.append(made)
        return made

    async def close(self) -> None:
        for made in self.engines:
            await made.dispose()


class Run:
    """What the writers of the process share."""

    def __init__(self, args: argparse.Namespace, stores: Stores) -> None:
        self.args = args
        self.stores = stores
        self.journal = Journal(args.journal)
        # A process that is started again with the same seed must not repeat the name of an operation.
        self.id = secrets.token_hex(4)
        self.stop = asyncio.Event()
        self.acked_events = 0
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.by_store: Counter[str] = Counter()
        self.waits: dict[UUID, list[float]] = {}
        self.acks: dict[UUID, list[float]] = {}

    def acked(self, tenant: UUID, events: int, store: str, since: float) -> None:
        """Counts an append that the library acknowledged, or that was found there."""
        now = now_ms()
        self.acked_events += events
        self.by_store[store] += events
        self.waits.setdefault(tenant, []).append(now - since)
        self.acks.setdefault(tenant, []).append(now)
        if self.args.events and self.acked_events >= self.args.events:
            self.stop.set()

    async def rest(self, seconds: float) -> None:
        """Waits, unless the process is to stop."""
        try:
            await asyncio.wait_for(self.stop.wait(), seconds)
        except TimeoutError:
            pass

    def summary(self) -> dict[str, Any]:
        """What happened, with the moving tenant's waits apart."""
        moving = self.args.tenant
        others = [wait for tenant, waits in self.waits.items() if tenant != moving for wait in waits]
        acks = self.acks.get(moving, [])
        gaps = [later - earlier for earlier, later in zip(acks, acks[1:], strict=False)]
        return {
            "run": self.id,
            "acked_events": self.acked_events,
            "acked_appends": sum(len(waits) for waits in self.waits.values()),
            **self.counts,
            "refused": dict(self.refused),
            "by_store": dict(self.by_store),
            "moving_wait_ms": spread(self.waits.get(moving, [])),
            "bystander_wait_ms": spread(others),
            "moving_gap_ms": round(max(gaps, default=0.0), 3),
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Count, median, 99th percentile and maximum."""
    ordered = sorted(values)
    if not ordered:
        return {"count": 0}
    at = lambda part: round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 3)  # noqa: E731
    return {"count": len(ordered), "p50": at(0.5), "p99": at(0.99), "max": round(ordered[-1], 3)}


class Writer:
    """One writer: loads an aggregate, decides, appends, one after the other."""

    def __init__(self, run: Run, number: int) -> None:
        self.run = run
        self.name = f"{run.args.seed}/{number}"
        self.dice = Random(self.name)
        self.operations = 0
        self.generation: Counter[str] = Counter()
        self.tag = f"{run.id}-{number}"

    async def work(self) -> None:
        """Writes until the process is to stop."""
        while not self.run.stop.is_set():
            try:
                await self.operation()
            except (SQLAlchemyError, *LOST) as error:
                # Only a read ends here: the stream could not be loaded.
                self.run.counts["reads_failed"] += 1
                self.run.journal.write("read_failed", writer=self.name, sqlstate=sqlstate(error), message=short(error))
                await self.run.rest(0.02)
            if self.run.args.think_ms:
                await self.run.rest(self.dice.random() * self.run.args.think_ms / 500)

    def choose(self) -> tuple[UUID, str]:
        """A tenant and a stream's name: the writer's own, or one of those that all processes share."""
        args = self.run.args
        tenant = args.tenant
        if args.bystander and self.dice.random() >= args.moving_share:
            tenant = self.dice.choice(args.bystander)
        if args.hot and self.dice.random() < args.hot_share:
            return tenant, f"hot/{self.dice.randrange(args.hot)}"
        return tenant, f"own/{self.name}/{self.dice.randrange(2)}"

    async def operation(self) -> None:
        """Loads, decides and appends once."""
        tenant, name = self.choose()
        key = f"{tenant}/{name}"
        identity = stream_id(tenant, f"{name}/{self.generation[key]}")
        # The router's own `read_stream` knows no tenant and reads the default store.
        store = await self.run.stores.router.get_store_for_tenant(tenant)
        order = await AggregateRepository(store, Order).load_or_create(identity)
        if order.version >= STREAM_LENGTH:
            self.generation[key] += 1
            return
        order.act(self.dice, tenant, f"writer {self.name}", self.dice.randrange(1, self.run.args.batch + 1))
        events = order.uncommitted_events
        self.operations += 1
        await self.append(tenant, identity, events, order.version - len(events))

    async def append(self, tenant: UUID, identity: UUID, events: list[DomainEvent], expected: int) -> None:
        """Appends through the router, again after a refusal, and finds out what became of a lost answer."""
        run, journal = self.run, self.run.journal
        about = {"op": f"{self.tag}-{self.operations}", "tenant": str(tenant), "stream": str(identity)}
        ids = [{"id": str(event.event_id), "digest": event_digest(event)} for event in events]
        stream = StreamId(identity, CATEGORY)
        since, tries, unsure = now_ms(), 0, False
        while True:
            tries += 1
            journal.write("attempt", **about, type=CATEGORY, expected=expected, attempt=tries, events=ids)
            try:
                result = await run.stores.router.append(stream, events, ExpectedVersion.exact(expected))
            except (OptimisticLockError, DuplicateEventError) as error:
                # After a lost answer this may be our own append that is in the way.
                if unsure or isinstance(error, DuplicateEventError):
                    if await self.settle(about, tenant, stream, events, expected, since):
                        return
                run.counts["conflicts"] += 1
                journal.write("conflict", **about, message=short(error))
                return
            except WritePausedError as error:
                run.refused["paused by the library"] += 1
                journal.write("refused", **about, sqlstate=None, message=short(error))
            except (SQLAlchemyError, *LOST) as error:
                if is_unsure(error):
                    unsure = True
                    run.counts["unknown"] += 1
                    journal.write("unknown", **about, sqlstate=sqlstate(error), message=short(error))
                    if await self.settle(about, tenant, stream, events, expected, since):
                        return
                else:
                    run.refused[str(sqlstate(error))] += 1
                    journal.write("refused", **about, sqlstate=sqlstate(error), message=short(error))
            else:
                position = result.position
                assert position is not None
                took = now_ms() - since
                journal.write(
                    "acked", **about, version=result.new_version, store=position.store_id,
                    position=position.key[0], took_ms=round(took, 3), attempts=tries,
                )
                run.acked(tenant, len(events), position.store_id, since)
                return
            if run.stop.is_set():
                run.counts["abandoned"] += 1
                journal.write("abandoned", **about)
                return
            await run.rest(min(2 << min(tries, 5), 20) / 1000 * (0.5 + self.dice.random() / 2))

    async def settle(
        self,
        about: dict[str, Any],
        tenant: UUID,
        stream: StreamId,
        events: list[DomainEvent],
        expected: int,
        since: float,
    ) -> bool:
        """Reads the stream where the router says it is: is our append there?"""
        ours = {event.event_id for event in events}
        try:
            store = await self.run.stores.router.get_store_for_tenant(tenant)
            found = [envelope async for envelope in store.read_stream(stream) if envelope.event.event_id in ours]
        except (SQLAlchemyError, *LOST) as error:
            self.run.journal.write("read_failed", **about, sqlstate=sqlstate(error), message=short(error))
            return False
        there = len(found) == len(events)
        self.run.journal.write(
            "truth", **about, there=there, found=len(found), store=store.store_id,
            version=max((envelope.stream_version for envelope in found), default=expected),
        )
        if there:
            self.run.counts["settled"] += 1
            self.run.acked(tenant, len(events), store.store_id, since)
        return there


def short(error: BaseException) -> str:
    """The first line of an error: the library adds the statement and its parameters."""
    text = str(getattr(error, "orig", None) or error) or repr(error)
    return text.splitlines()[0][:300]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that the coordinator's program has too."""
    parser.add_argument("--routing", required=True, metavar="DSN", help="the database with tenant_routing")
    parser.add_argument("--store", action="append", required=True, metavar="ID=DSN", help="the first is the default")
    parser.add_argument("--tenant", type=UUID, required=True, help="the tenant that moves")
    parser.add_argument("--bystander", type=UUID, action="append", default=[], help="a tenant that does not")
    parser.add_argument("--moving-share", type=float, default=0.75, help="its part of the work, if there are others")
    parser.add_argument("--journal", required=True, metavar="FILE")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--batch", type=int, default=3, help="an append has one to so many events")
    parser.add_argument("--hot", type=int, default=8, help="streams that all writers of all processes share")
    parser.add_argument("--hot-share", type=float, default=0.3)
    parser.add_argument("--think-ms", type=float, default=2.0, help="a writer's mean rest between operations")
    parser.add_argument("--events", type=int, default=0, help="stop after so many acknowledged events")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after so long")
    parser.add_argument("--isolation", help="'read committed', 'repeatable read' or 'serializable'")
    parser.add_argument("--cache-ttl", type=float, default=0.0, help="the router's cache, in seconds; 0 is none")
    parser.add_argument("--timeout", type=float, default=10.0, help="of a connection and of a statement, in seconds")
    parser.add_argument("--outbox", action="store_true", help="the stores write their outbox too")


async def write(run: Run) -> None:
    """Runs the writers until SIGTERM, or until it is enough."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, run.stop.set)
    if run.args.seconds:
        loop.call_later(run.args.seconds, run.stop.set)
    async with asyncio.TaskGroup() as group:
        for number in range(run.args.writers):
            group.create_task(Writer(run, number).work())


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    args = parser.parse_args()
    stores = Stores(args)
    run = Run(args, stores)
    try:
        say({"ready": True, "pid": os.getpid(), "run": run.id})
        await write(run)
    finally:
        await stores.close()
    say(run.summary())
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
