"""The library's conformance suites of its ports, on its PostgreSQL adapters and the events table of a live database.

The suites want a fresh store for each test: some read the whole feed, or want none. The library truncates nothing
by itself, and nobody may truncate a table that has tenants. So a schema of their own is before `public` in the
search path, with a view `events` of `public.events`: an INSERT into the view goes to the table, with the table's
triggers, defaults and constraints; a SELECT sees what this test wrote. The other tables are the library's own, made
anew in that schema and emptied before each test. What the suites write stays in `public.events`.

`readers.py conformance` runs this, with the environment variables below.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from eventsource import (
    EventRegistry,
    PostgreSQLEventStore,
    PostgreSQLOutboxRepository,
    SQLCheckpointRepository,
    SQLDLQRepository,
)
from eventsource.adapters.postgresql.locks import PostgreSQLLockManager
from eventsource.adapters.postgresql.readmodels import PostgreSQLReadModelRepository
from eventsource.adapters.postgresql.snapshots import PostgreSQLSnapshotStore
from eventsource.adapters.sql.readmodel_schema import generate_full_schema
from eventsource.migrations import get_schema
from eventsource.testing import conformance_ports as ports
from eventsource.testing.conformance_ports._fixtures import ConformanceEvent, ConformanceReadModel
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from common import engine as connect

DSN = os.environ["ADOPTED_DSN"]
#: If given, every event is written for this tenant, so that a guard of that tenant judges all of them.
TENANT = os.environ.get("ADOPTED_TENANT")

# Other writers are at work in the table, so a position does not tell whose a row is: the ids of a test's own do.
VIEW = """
CREATE TABLE own (event_id uuid PRIMARY KEY, tenant_id uuid);
CREATE VIEW events AS
    SELECT e.global_position, e.event_id, e.aggregate_id, e.aggregate_type, e.event_type, o.tenant_id,
           e.actor_id, e.version, e.timestamp, e.payload, e.created_at, e.txid
    FROM public.events e JOIN own o ON o.event_id = e.event_id;
CREATE FUNCTION write_through() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.events (event_id, event_type, aggregate_type, aggregate_id, tenant_id,
                               actor_id, version, timestamp, payload, created_at)
    VALUES (NEW.event_id, NEW.event_type, NEW.aggregate_type, NEW.aggregate_id, {tenant},
            NEW.actor_id, NEW.version, NEW.timestamp, NEW.payload, NEW.created_at)
    RETURNING global_position INTO NEW.global_position;
    INSERT INTO own VALUES (NEW.event_id, NEW.tenant_id);
    RETURN NEW;
END $$;
CREATE TRIGGER write_through INSTEAD OF INSERT ON events FOR EACH ROW EXECUTE FUNCTION write_through();
"""
REGISTRY = EventRegistry()
REGISTRY.register(ConformanceEvent)


async def execute(*scripts: str) -> None:
    """Runs scripts in one session."""
    connection = await asyncpg.connect(DSN, server_settings={"client_min_messages": "warning"})
    try:
        for script in scripts:
            await connection.execute(script)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def schema() -> Iterator[str]:
    """The schema with the view and the library's other tables."""
    name = f"conformance_{uuid4().hex}"
    tenant = f"'{UUID(TENANT)}'::uuid" if TENANT else "NEW.tenant_id"
    path = f"SET search_path = {name}, public"
    read_model = generate_full_schema(ConformanceReadModel, dialect="postgresql")
    tables = [get_schema("all"), get_schema("snapshots"), read_model]
    extension = 'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" SCHEMA public'
    # The library's own `events` gives way to the view.
    view = ["DROP TABLE events", VIEW.format(tenant=tenant)]
    try:
        asyncio.run(execute(extension, f"CREATE SCHEMA {name}", path, *tables, *view))
        yield name
    finally:
        asyncio.run(execute(f"DROP SCHEMA IF EXISTS {name} CASCADE"))


@pytest.fixture
async def fresh(schema: str) -> AsyncIterator[AsyncEngine]:
    """An engine whose sessions see only what this test writes."""
    # Of the suites' own schema only, by its name: never of `public`.
    await execute(f"""DO $$ DECLARE found record; BEGIN
        FOR found IN SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' LOOP
            EXECUTE format('DELETE FROM %I.%I', '{schema}', found.tablename);
        END LOOP; END $$""")
    made = connect(DSN, search_path=f"{schema}, public")
    yield made
    await made.dispose()


class OnEvents:
    """The store fixture of the suites that write events."""

    @pytest.fixture
    async def store(self, fresh: AsyncEngine) -> Any:
        return PostgreSQLEventStore(fresh, REGISTRY, store_id="conformance")


class TestAppender(OnEvents, ports.AppenderConformance):
    pass


class TestStreamReader(OnEvents, ports.StreamReaderConformance):
    pass


class TestEventLookup(OnEvents, ports.EventLookupConformance):
    pass


class TestGlobalFeed(OnEvents, ports.GlobalFeedConformance):
    pass


class TestCategoryQuery(OnEvents, ports.CategoryQueryConformance):
    pass


class TestSnapshotStore(ports.SnapshotStoreConformance):
    @pytest.fixture
    async def store(self, fresh: AsyncEngine) -> Any:
        return PostgreSQLSnapshotStore(async_sessionmaker(fresh, expire_on_commit=False))


class TestCheckpointRepository(ports.CheckpointRepositoryConformance):
    @pytest.fixture
    async def store(self, fresh: AsyncEngine) -> Any:
        return SQLCheckpointRepository(fresh)


class TestDLQRepository(ports.DLQRepositoryConformance):
    @pytest.fixture
    async def store(self, fresh: AsyncEngine) -> Any:
        return SQLDLQRepository(fresh)


class TestOutboxRepository(ports.OutboxRepositoryConformance):
    @pytest.fixture
    async def store(self, fresh: AsyncEngine) -> Any:
        return PostgreSQLOutboxRepository(fresh)


class TestDistributedLock(ports.DistributedLockConformance):
    @pytest.fixture
    async def store(self, fresh: AsyncEngine) -> Any:
        manager = PostgreSQLLockManager(async_sessionmaker(fresh, expire_on_commit=False))
        yield manager
        await manager.release_all()


class TestReadModelRepository(ports.ReadModelRepositoryConformance):
    @pytest.fixture
    async def store(self, fresh: AsyncEngine) -> Any:
        return PostgreSQLReadModelRepository(fresh, ConformanceReadModel)
