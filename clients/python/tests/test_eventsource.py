"""The conformance suites of eventsource-py's store ports, on the store over a server, whose tenant may be moving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from conftest import TOKEN, URL
from eventsource import EventRegistry
from eventsource.domain.exceptions import PositionForeignError
from eventsource.ports import ExpectedVersion, FullEventStore, Position, ReadDirection, StreamReadOptions, collect
from eventsource.testing import conformance_ports as ports
from eventsource.testing.conformance_ports._fixtures import ConformanceEvent, make_event, make_stream
from eventsource.testing.conformance_ports.stateful import StoreStateMachine
from eventsource.testing.sync_facade import SyncStoreFacade
from hypothesis import settings
from rehome_client import AsyncClient
from rehome_client.eventsource import RehomeEventStore

REGISTRY = EventRegistry()
REGISTRY.register(ConformanceEvent)


class OverAServer:
    """A fresh store is a tenant that nobody has written to."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[Any]:
        async with AsyncClient(URL, token=TOKEN) as client:
            yield RehomeEventStore(client, uuid4(), REGISTRY)


class TestAppender(OverAServer, ports.AppenderConformance):
    pass


class TestStreamReader(OverAServer, ports.StreamReaderConformance):
    pass


class TestEventLookup(OverAServer, ports.EventLookupConformance):
    pass


class TestGlobalFeed(OverAServer, ports.GlobalFeedConformance):
    pass


class TestCategoryQuery(OverAServer, ports.CategoryQueryConformance):
    pass


class Machine(StoreStateMachine):
    """The library's machine that appends at random and compares with its model."""

    def make_store(self) -> SyncStoreFacade:
        self.client = AsyncClient(URL, token=TOKEN)
        store: FullEventStore = RehomeEventStore(self.client, uuid4(), REGISTRY)
        return SyncStoreFacade(store)


TestStateful = Machine.TestCase
TestStateful.settings = settings(max_examples=5, stateful_step_count=12, deadline=None, derandomize=True)


async def test_the_librarys_events_move_with_their_tenant() -> None:
    tenant = uuid4()
    async with AsyncClient(URL, token=TOKEN) as client:
        store = RehomeEventStore(client, tenant, REGISTRY)
        stream = make_stream()
        written: list[Any] = []
        moved = asyncio.Event()

        async def write() -> None:
            while not moved.is_set() or len(written) < 20:
                event = make_event(stream.aggregate_id, payload=str(len(written)))
                await store.append(stream, [event], ExpectedVersion.exact(len(written)))
                written.append(event)

        await store.append(stream, [first := make_event(stream.aggregate_id)], ExpectedVersion.no_stream())
        written.append(first)
        writer = asyncio.create_task(write())
        try:
            started = await client.start_migration(tenant, "dedicated", options={"cutover": "auto"})
            await client.wait_for_migration(started["id"])
        finally:
            moved.set()
            await writer
        assert (await client.tenant(tenant))["store"] == "dedicated"
        found = await collect(store.read_all())
        assert [one.event for one in found] == written
        assert await store.get_stream_version(stream) == len(written)
        assert await store.event_exists(written[3].event_id)
        # A position from before the move is as good after it.
        assert [one.event for one in await collect(store.read_all(found[4].position))] == written[5:]
        # More than a page, backwards, between two versions.
        options = StreamReadOptions(direction=ReadDirection.BACKWARD, from_version=3, to_version=9, limit=5)
        backwards = await collect(store.read_stream(stream, options))
        assert [one.stream_version for one in backwards] == [9, 8, 7, 6, 5]
        with pytest.raises(PositionForeignError):
            await collect(store.read_all(Position(store_id="another", key=(1,))))
