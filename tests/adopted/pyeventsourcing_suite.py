"""The library's own tests of recorders, on its table in a live database whose tenant is guarded.

They want a table that is empty, and the first notification to be number 1. So a view of the table is in a schema of
their own, which shows what a test wrote, numbered from 1; an INSERT into it goes to the table, with the table's triggers,
and so does LOCK TABLE. Ids begin with the tenant, so that its guard judges every row. What the tests write stays.
"""

from __future__ import annotations

import unittest
from typing import Any
from uuid import uuid4

import psycopg
from eventsourcing.postgres import (
    PostgresAggregateRecorder,
    PostgresApplicationRecorder,
    PostgresDatastore,
    PostgresProcessRecorder,
)
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
)
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from journal import outcome

TABLE = "stored_events"
VIEW = """
CREATE SCHEMA {schema};
CREATE TYPE {schema}.stored_event_text AS
    (originator_id text, originator_version bigint, topic text, state bytea);
CREATE TABLE {schema}.notification_tracking
    (application_name text PRIMARY KEY, notification_id bigint);
CREATE VIEW {schema}.stored_events AS
    SELECT e.originator_id, e.originator_version, e.topic, e.state, e.notification_id - {base} AS notification_id
    FROM public.stored_events AS e WHERE e.notification_id > {base};
CREATE FUNCTION {schema}.write_through() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.stored_events (originator_id, originator_version, topic, state)
        VALUES (NEW.originator_id, NEW.originator_version, NEW.topic, NEW.state)
        RETURNING notification_id - {base} INTO NEW.notification_id;
    RETURN NEW;
END $$;
CREATE TRIGGER write_through INSTEAD OF INSERT ON {schema}.stored_events
    FOR EACH ROW EXECUTE FUNCTION {schema}.write_through();
"""
BASE = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.stored_events_notification_id_seq"


class OnTheTable:
    """What each test gets: a view that shows nothing yet, and ids of the tenant."""

    DSN = ""
    TENANT = ""

    def setUp(self) -> None:
        self.schema = f"suite_{uuid4().hex}"
        with psycopg.connect(self.DSN) as connection:
            row = connection.execute(BASE).fetchone()
            base = int(row[0]) if row else 0
            connection.execute(SQL(VIEW).format(schema=Identifier(self.schema), base=SQL(str(base))))
        to = conninfo_to_dict(self.DSN)
        self.datastore = PostgresDatastore(
            dbname=str(to["dbname"]), host=str(to["host"]), port=str(to["port"]), user=str(to["user"]),
            password=str(to.get("password", "")), schema=self.schema, originator_id_type="text",
            pool_size=10, max_overflow=20,
        )  # fmt: skip

    def tearDown(self) -> None:
        self.datastore.close()
        with psycopg.connect(self.DSN) as connection:
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(self.schema)))

    def new_originator_id(self) -> str:
        return f"{self.TENANT}/{uuid4()}"


class TestAggregateRecorder(OnTheTable, AggregateRecorderTestCase):
    def create_recorder(self) -> PostgresAggregateRecorder:
        return PostgresAggregateRecorder(self.datastore, events_table_name=TABLE)


class TestApplicationRecorder(OnTheTable, ApplicationRecorderTestCase[PostgresApplicationRecorder]):
    def create_recorder(self) -> PostgresApplicationRecorder:
        return PostgresApplicationRecorder(self.datastore, events_table_name=TABLE)


class TestNonInterleaving(OnTheTable, NonInterleavingNotificationIDsBaseCase):
    insert_num = 300

    def create_recorder(self) -> PostgresApplicationRecorder:
        return PostgresApplicationRecorder(self.datastore, events_table_name=TABLE)


class TestProcessRecorder(OnTheTable, ProcessRecorderTestCase):
    def create_recorder(self) -> PostgresProcessRecorder:
        return PostgresProcessRecorder(
            self.datastore, events_table_name=TABLE, tracking_table_name="notification_tracking"
        )


def run(dsn: str, tenant: str) -> dict[str, Any]:
    """Runs them; what failed, in words."""
    OnTheTable.DSN, OnTheTable.TENANT = dsn, tenant
    suite = unittest.TestSuite()
    for case in (TestAggregateRecorder, TestApplicationRecorder, TestNonInterleaving, TestProcessRecorder):
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    return outcome(unittest.TextTestRunner(verbosity=0).run(suite))
