"""Python's `eventsourcing`: an application at each store, with ids that begin with the tenant."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from uuid import uuid4

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import BaseAggregate, CanInitAggregate, CanMutateAggregate, MetaDomainEvent
from eventsourcing.persistence import IntegrityError, InterfaceError, OperationalError, PersistenceError
from psycopg import Error
from psycopg.conninfo import conninfo_to_dict

from journal import digest, sqlstate
from library import STREAM_LENGTH, Duplicate, Found, Refused, Unsure, Work, is_lost
from threaded import Threaded

CATEGORY = "Order"


class Event(CanMutateAggregate[str], metaclass=MetaDomainEvent):
    """An event of an aggregate whose id is a text."""

    originator_id: str
    originator_version: int
    timestamp: Any


class Order(BaseAggregate[str]):
    """The aggregate of every stream. Its events have a mark, which the checker tells them apart by."""

    class Event(Event):
        mark: str

        def apply(self, aggregate: Order) -> None:
            aggregate.events += 1

    class Placed(Event, CanInitAggregate[str]):
        originator_topic: str
        customer: str

    class ItemAdded(Event):
        sku: str
        quantity: int
        price: float
        options: dict[str, Any]

        def apply(self, aggregate: Order) -> None:
            super().apply(aggregate)
            aggregate.total += self.quantity * self.price

    class NoteWritten(Event):
        text: str

    def __init__(self, mark: str, customer: str) -> None:
        self.customer = customer
        self.events = 0
        self.total = 0.0

    @classmethod
    def place(cls, identity: str, dice: Random) -> Order:
        """A new order."""
        return cls._create(cls.Placed, id=identity, mark=mark(), customer=f"Zoë {dice.randrange(1000)}")

    def act(self, dice: Random, count: int) -> None:
        """Decides `count` new events, as a command of a service would."""
        for _ in range(count):
            if dice.random() < 0.6:
                self.trigger_event(
                    self.ItemAdded,
                    mark=mark(),
                    sku=f"sku-{dice.randrange(9)}",
                    quantity=dice.randrange(1, 9),
                    price=dice.choice([0.1, 1e-7, 1e20, 19.99, 3.0]),
                    options={"Größe": dice.choice(["S", "M", "L"]), "tags": ["a", 1, 2.50, True, {}]},
                )
            else:
                text = dice.choice(['plain "quoted" \\ text', "naïve\ttab\nline", "日本語", "🙂 é"])
                self.trigger_event(self.NoteWritten, mark=mark(), text=text * dice.randrange(1, 20))


def mark() -> str:
    """What tells an event from all others."""
    return str(uuid4())


class Orders(Application[str]):
    """The application; without a name, its table is `stored_events`."""

    name = ""

    def __init__(self, dsn: str, pool: int = 4, **more: str) -> None:
        to = conninfo_to_dict(dsn)
        super().__init__(
            {
                "PERSISTENCE_MODULE": "eventsourcing.postgres",
                "ORIGINATOR_ID_TYPE": "text",
                "POSTGRES_DBNAME": str(to["dbname"]),
                "POSTGRES_HOST": str(to["host"]),
                "POSTGRES_PORT": str(to["port"]),
                "POSTGRES_USER": str(to["user"]),
                "POSTGRES_PASSWORD": str(to.get("password", "")),
                "POSTGRES_POOL_SIZE": str(pool),
                **more,
            }
        )


@contextmanager
def in_our_words() -> Iterator[None]:
    """The library's errors in the writers' words."""
    try:
        yield
    except IntegrityError as error:
        # The library tries again by itself when a connection went, so this may be its own first try.
        raise Duplicate(error, sqlstate(error)) from error
    except (PersistenceError, Error) as error:
        state = sqlstate(error)
        unsure = is_lost(state) and isinstance(error, (InterfaceError, OperationalError, Error))
        raise (Unsure if unsure else Refused)(error, state) from error


class Stores(Threaded):
    """An application at each store."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.stores = {name: Orders(dsn, args.writers, CREATE_TABLE="no") for name, dsn in self.dsns.items()}

    def load_now(self, tenant: str, name: str, dice: Random, batch: int) -> Work | None:
        identity = f"{tenant}/{name}"
        with in_our_words():
            store = self.stores[self.routes.store_of(tenant)]
            try:
                order: Order = store.repository.get(identity)
                before = order.version
                if before >= STREAM_LENGTH:
                    return None
                order.act(dice, dice.randrange(1, batch + 1))
            except AggregateNotFoundError:
                order, before = Order.place(identity, dice), 0
        events = order.collect_events()
        stored = [store.mapper.to_stored_event(event) for event in events]
        ids = [
            {"id": event.mark, "digest": digest({"topic": one.topic, "state": json.loads(one.state)})}
            for event, one in zip(events, stored, strict=True)
        ]
        return Work(tenant, identity, CATEGORY, before, ids, events)

    def append_now(self, work: Work) -> Found:
        with in_our_words():
            name = self.routes.store_of(work.tenant)
            recordings = self.stores[name].save(*work.native)
        last = recordings[-1].notification
        return Found(name, len(recordings), last.originator_version, last.id)

    def find_now(self, work: Work) -> Found:
        ours = {event["id"] for event in work.events}
        with in_our_words():
            name = self.routes.store_of(work.tenant)
            stream = self.stores[name].events.get(work.stream, gt=work.expected)
            found = [event.originator_version for event in stream if event.mark in ours]
        return Found(name, len(found), max(found, default=work.expected))

    def close_now(self) -> None:
        for store in self.stores.values():
            store.close()


def make(dsn: str) -> None:
    """Makes the library's tables by its own means, those of snapshots and of tracking too."""
    app = Orders(dsn, 1, IS_SNAPSHOTTING_ENABLED="yes")
    app.factory.tracking_recorder()
    app.close()


def fold(dsn: str, tenant: str) -> dict[str, Any]:
    """Rebuilds the tenant's aggregates by the library, and reads its notification log."""
    app = Orders(dsn, 2, CREATE_TABLE="no")
    streams: dict[str, int] = {}
    positions: list[int] = []
    start: int | None = None
    while True:
        page = app.recorder.select_notifications(start, 500, inclusive_of_start=False)
        for one in page:
            if str(one.originator_id).startswith(f"{tenant}/"):
                streams[str(one.originator_id)] = streams.get(str(one.originator_id), 0) + 1
                positions.append(one.id)
        if len(page) < 500:
            break
        start = page[-1].id
    orders = [app.repository.get(stream) for stream in sorted(streams)]
    states = [(order.id, order.version, order.customer, order.events, order.total) for order in orders]
    agree = all(order.version == streams[order.id] == order.events for order in orders)
    app.close()
    return {
        "feed_events": len(positions),
        "agree": agree and positions == sorted(positions),
        "aggregates": len(orders),
        "digest": hashlib.sha256(json.dumps(states).encode()).hexdigest(),
    }
