"""eventsource-py in a file of SQLite and in PostgreSQL: it writes to whichever takes the tenant, and reads a tenant."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

from eventsource import (
    AggregateRepository,
    DomainEvent,
    FeedReadOptions,
    OptimisticLockError,
    PostgreSQLEventStore,
    collect,
    register_event,
)
from eventsource.adapters.sqlite import SQLiteEventStore

from common import Order, engine
from journal import digest, microseconds, say, sqlstate

#: What the guard refuses with: in a file at the start of the message, in PostgreSQL as the SQLSTATE.
REFUSALS = ("RH001", "RH003", "40001")


@register_event
class OrderUpdated(DomainEvent):
    """The event of files that others made."""

    aggregate_type: str = "Order"
    amount: int
    note: str


Store = SQLiteEventStore | PostgreSQLEventStore


def opened(place: str) -> Store:
    """The library's store at a URL of PostgreSQL or in a file."""
    if "://" in place:
        return PostgreSQLEventStore(engine(place), store_id="store", owns_engine=True)
    return SQLiteEventStore(place, store_id="store")


def refusal(error: BaseException) -> str | None:
    """The code with which a guard refused, if it did."""
    found: BaseException | None = error
    for _ in range(6):
        if found is None:
            break
        said = str(found)
        if isinstance(said, str) and said[:5] in REFUSALS:
            return said[:5]
        found = found.__cause__ or found.__context__
    state = sqlstate(error)
    return state if state in REFUSALS else None


async def act(store: Store, tenant: UUID, stream: UUID, dice: Random, count: int) -> list[str]:
    """Appends to one aggregate as a command of a service would. Answers the ids of the events."""
    repository = AggregateRepository(store, Order)
    order = await repository.load(stream) if await repository.exists(stream) else Order(stream)
    order.act(dice, tenant, f"actor {dice.randrange(5)}", count)
    ids = [str(event.event_id) for event in order.uncommitted_events]
    await repository.save(order)
    return ids


async def make(args: argparse.Namespace) -> None:
    """Makes a store's tables, if it is a file, and fills it."""
    store, dice = opened(args.place), Random(args.seed)
    for tenant in args.tenant:
        for _ in range(args.streams):
            await act(store, tenant, uuid4(), dice, dice.randrange(1, 9))
    await store.close()
    say({"made": args.place})


async def write(args: argparse.Namespace) -> None:
    """Appends until it is ended, wherever the tenant is; each acknowledged event is a line in the journal."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    stores, dice, at = [opened(place) for place in args.place], Random(args.seed), 0
    streams = [uuid4() for _ in range(3)]
    refused: dict[str, int] = {}
    with Path(args.journal).open("a", buffering=1) as journal:
        say({"ready": True})
        while not ended.is_set():
            at_stream = dice.randrange(len(streams))
            if dice.randrange(20) == 0:
                streams[at_stream] = uuid4()
            stream = streams[at_stream]
            try:
                ids = await act(stores[at], args.tenant[0], stream, dice, dice.randrange(1, 4))
            except OptimisticLockError:
                # It was loaded from a copy that is not complete yet.
                continue
            except Exception as error:
                code = refusal(error)
                if code is None:
                    raise
                refused[code] = refused.get(code, 0) + 1
                at = (at + 1) % len(stores)
                continue
            for event in ids:
                journal.write(json.dumps({"id": event, "at": at}) + "\n")
    for store in stores:
        await store.close()
    say({"refused": refused})


async def read(args: argparse.Namespace) -> None:
    """All that the library returns of a tenant, in the order of its streams."""
    store, found = opened(args.place), []
    for envelope in await collect(store.read_all(None, FeedReadOptions(tenant_id=args.tenant[0]))):
        stream, stored = envelope.stream_id, microseconds(envelope.stored_at)
        place = (str(stream.aggregate_id), envelope.stream_version)
        found.append((place, stored, envelope.event.event_type, envelope.event.model_dump(mode="json")))
    found.sort(key=lambda one: one[0])
    await store.close()
    rows = [[*place, *rest] for place, *rest in found]
    say({"events": len(rows), "digest": digest({"all": rows})})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for run in (make, write, read):
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.add_argument("place", nargs="+" if run is write else None, help="files, and URLs of PostgreSQL")
        command.add_argument("--tenant", type=UUID, action="append", required=True)
        command.add_argument("--seed", type=int, default=1)
        command.add_argument("--streams", type=int, default=20)
        command.add_argument("--journal")
        command.set_defaults(run=run)
    args = parser.parse_args()
    asyncio.run(args.run(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
