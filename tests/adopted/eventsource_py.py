"""eventsource-py: its own router over its stores, as its documentation has it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from uuid import UUID

import asyncpg
from eventsource import (
    AggregateRepository,
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

from common import CATEGORY, Order, engine, event_digest, stream_id
from journal import sqlstate
from library import STREAM_LENGTH, Conflict, Duplicate, Found, Refused, Unsure, Work, is_lost

# The driver's last kind is what a statement gets while the driver still takes note that its connection ended.
LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError)


def is_unsure(error: BaseException) -> bool:
    """Whether an append that failed so may have committed."""
    state = sqlstate(error)
    if state is not None:
        return is_lost(state)
    return isinstance(error, (DBAPIError, SQLAlchemyError, *LOST))


@contextmanager
def in_our_words() -> Iterator[None]:
    """The library's errors in the writers' words."""
    try:
        yield
    except DuplicateEventError as error:
        raise Duplicate(error) from error
    except OptimisticLockError as error:
        raise Conflict(error) from error
    except WritePausedError as error:
        raise Refused(error, "paused by the library") from error
    except (SQLAlchemyError, *LOST) as error:
        raise (Unsure if is_unsure(error) else Refused)(error, sqlstate(error)) from error


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

    async def load(self, tenant: str, name: str, dice: Random, writer: str, batch: int) -> Work | None:
        """As `Library`."""
        moving = UUID(tenant)
        identity = stream_id(moving, name)
        with in_our_words():
            # The router's own `read_stream` knows no tenant and reads the default store.
            store = await self.router.get_store_for_tenant(moving)
            order = await AggregateRepository(store, Order).load_or_create(identity)
        if order.version >= STREAM_LENGTH:
            return None
        order.act(dice, moving, f"writer {writer}", dice.randrange(1, batch + 1))
        events = order.uncommitted_events
        ids = [{"id": str(event.event_id), "digest": event_digest(event)} for event in events]
        return Work(tenant, str(identity), CATEGORY, order.version - len(events), ids, events)

    async def append(self, work: Work) -> Found:
        """As `Library`."""
        stream = StreamId(UUID(work.stream), CATEGORY)
        with in_our_words():
            result = await self.router.append(stream, work.native, ExpectedVersion.exact(work.expected))
        assert result.position is not None
        return Found(result.position.store_id, len(work.native), result.new_version, result.position.key[0])

    async def find(self, work: Work) -> Found:
        """As `Library`."""
        ours = {event.event_id for event in work.native}
        with in_our_words():
            store = await self.router.get_store_for_tenant(UUID(work.tenant))
            stream = store.read_stream(StreamId(UUID(work.stream), CATEGORY))
            found = [envelope async for envelope in stream if envelope.event.event_id in ours]
        version = max((envelope.stream_version for envelope in found), default=work.expected)
        return Found(store.store_id, len(found), version)
