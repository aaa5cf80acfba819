"""Concurrent writers of one process, which use a library as documented and journal what they are told."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections import Counter
from random import Random
from typing import Any

from journal import Journal, now_ms, say, short, spread
from library import LIBRARIES, Conflict, Failed, Unsure, Work, open_library


class Run:
    """What the writers of the process share."""

    def __init__(self, args: argparse.Namespace, library: Any) -> None:
        self.args = args
        self.library = library
        self.journal = Journal(args.journal)
        # A process that is started again with the same seed must not repeat the name of an operation.
        self.id = secrets.token_hex(4)
        self.stop = asyncio.Event()
        self.acked_events = 0
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.by_store: Counter[str] = Counter()
        self.waits: dict[str, list[float]] = {}
        self.acks: dict[str, list[float]] = {}

    def acked(self, tenant: str, events: int, store: str, since: float) -> None:
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
            except Failed as error:
                # Only a read ends here: the stream could not be loaded.
                self.run.counts["reads_failed"] += 1
                about = {"sqlstate": error.sqlstate, "message": short(error.error)}
                self.run.journal.write("read_failed", writer=self.name, **about)
                await self.run.rest(0.02)
            if self.run.args.think_ms:
                await self.run.rest(self.dice.random() * self.run.args.think_ms / 500)

    def choose(self) -> tuple[str, str]:
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
        name = f"{name}/{self.generation[key]}"
        work = await self.run.library.load(tenant, name, self.dice, self.name, self.run.args.batch)
        if work is None:
            self.generation[key] += 1
            return
        self.operations += 1
        await self.append(work)

    async def append(self, work: Work) -> None:
        """Appends where the tenant is, again after a refusal, and finds out what became of a lost answer."""
        run, journal = self.run, self.run.journal
        about = {"op": f"{self.tag}-{self.operations}", "tenant": work.tenant, "stream": work.stream}
        given = {"type": work.type, "expected": work.expected, "events": work.events}
        since, tries, unsure = now_ms(), 0, False
        while True:
            tries += 1
            journal.write("attempt", **about, attempt=tries, **given)
            try:
                found = await run.library.append(work)
            except Conflict as error:
                # After a lost answer this may be our own append that is in the way.
                if (unsure or error.ours) and await self.settle(about, work, since):
                    return
                run.counts["conflicts"] += 1
                journal.write("conflict", **about, message=short(error.error))
                return
            except Unsure as error:
                unsure = True
                run.counts["unknown"] += 1
                journal.write("unknown", **about, sqlstate=error.sqlstate, message=short(error.error))
                if await self.settle(about, work, since):
                    return
            except Failed as error:
                run.refused[str(error.sqlstate)] += 1
                journal.write("refused", **about, sqlstate=error.sqlstate, message=short(error.error))
            else:
                took = now_ms() - since
                journal.write(
                    "acked", **about, version=found.version, store=found.store,
                    position=found.position, took_ms=round(took, 3), attempts=tries,
                )  # fmt: skip
                run.acked(work.tenant, len(work.events), found.store, since)
                return
            if run.stop.is_set():
                run.counts["abandoned"] += 1
                journal.write("abandoned", **about)
                return
            await run.rest(min(2 << min(tries, 5), 20) / 1000 * (0.5 + self.dice.random() / 2))

    async def settle(self, about: dict[str, Any], work: Work, since: float) -> bool:
        """Reads the stream where the tenant is: is our append there?"""
        try:
            found = await self.run.library.find(work)
        except Failed as error:
            said = {"sqlstate": error.sqlstate, "message": short(error.error)}
            self.run.journal.write("read_failed", **about, **said)
            return False
        there = found.events == len(work.events)
        self.run.journal.write(
            "truth", **about, there=there, found=found.events, store=found.store, version=found.version
        )
        if there:
            self.run.counts["settled"] += 1
            self.run.acked(work.tenant, len(work.events), found.store, since)
        return there


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that the coordinator's program has too."""
    parser.add_argument("--library", choices=LIBRARIES, default="eventsource-py")
    parser.add_argument("--routing", required=True, metavar="DSN", help="the database that says where a tenant is")
    parser.add_argument("--store", action="append", required=True, metavar="ID=DSN", help="the first is the default")
    parser.add_argument("--tenant", required=True, help="the tenant that moves")
    parser.add_argument("--bystander", action="append", default=[], help="a tenant that does not")
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
    library = open_library(args)
    run = Run(args, library)
    try:
        say({"ready": True, "pid": os.getpid(), "run": run.id})
        await write(run)
    finally:
        await library.close()
    say(run.summary())
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
