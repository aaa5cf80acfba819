"""What Message DB's guide promises of its functions, in the messages table of a live database whose tenant is guarded.

Its own tests are scripts in its repository and in none of its packages; these are ours, after its guide. Names of
streams begin with the tenant, so that its guard judges every row. What they write stays.
"""

from __future__ import annotations

import threading
import unittest
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.types.json import Jsonb

from journal import outcome
from message_db import OPTIONS


class Promised(unittest.TestCase):
    """A category of its own for each test."""

    DSN = ""
    TENANT = ""

    def setUp(self) -> None:
        self.connection = psycopg.connect(self.DSN, options=OPTIONS, autocommit=True)
        self.addCleanup(self.connection.close)
        self.category = f"{self.TENANT}/thing{uuid4().hex}"
        self.stream = f"{self.category}-1"

    def ask(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, values).fetchall()

    def write(self, stream: str, expected: int | None = None, **more: Any) -> int:
        given = {"id": str(uuid4()), "type": "Happened", "data": {"n": 1}, "metadata": None, **more}
        values = given["id"], stream, given["type"], Jsonb(given["data"]), Jsonb(given["metadata"]), expected
        return int(self.ask("SELECT write_message(%s, %s, %s, %s, %s, %s)", *values)[0][0])

    def test_positions_begin_at_0_and_have_no_gaps(self) -> None:
        self.assertEqual(self.ask("SELECT stream_version(%s)", self.stream), [(None,)])
        self.assertEqual([self.write(self.stream) for _ in range(3)], [0, 1, 2])
        self.assertEqual(self.ask("SELECT stream_version(%s)", self.stream), [(2,)])

    def test_an_expected_version_is_kept(self) -> None:
        self.assertEqual(self.write(self.stream, -1), 0)
        self.assertEqual(self.write(self.stream, 0), 1)
        for wrong in (-1, 0, 7):
            with self.assertRaisesRegex(psycopg.errors.RaiseException, "Wrong expected version"):
                self.write(self.stream, wrong)
        self.assertEqual(self.ask("SELECT stream_version(%s)", self.stream), [(1,)])

    def test_an_id_is_there_once(self) -> None:
        once = str(uuid4())
        self.write(self.stream, id=once)
        with self.assertRaises(psycopg.errors.UniqueViolation):
            self.write(self.stream, id=once)

    def test_several_messages_are_written_together_or_not_at_all(self) -> None:
        with self.assertRaises(psycopg.errors.RaiseException), self.connection.transaction():
            self.write(self.stream, -1)
            self.write(self.stream, 5)
        self.assertEqual(self.ask("SELECT stream_version(%s)", self.stream), [(None,)])

    def test_a_stream_is_read_from_a_position(self) -> None:
        data = {"Größe": [1, 2.5, None, {"x": True}]}
        ids = [str(uuid4()) for _ in range(5)]
        for one in ids:
            self.write(self.stream, id=one, data=data, metadata={"m": 1})
        rows = self.ask("SELECT id, position, data::jsonb FROM get_stream_messages(%s, 2, 2)", self.stream)
        self.assertEqual(rows, [(ids[2], 2, data), (ids[3], 3, data)])
        last = self.ask("SELECT id, position FROM get_last_stream_message(%s)", self.stream)
        self.assertEqual(last, [(ids[4], 4)])
        self.write(self.stream, type="Other")
        last = self.ask("SELECT id, position FROM get_last_stream_message(%s, %s)", self.stream, "Happened")
        self.assertEqual(last, [(ids[4], 4)])

    def test_a_category_is_read_over_its_streams(self) -> None:
        streams = [f"{self.category}-{number % 3}" for number in range(9)]
        for stream in streams:
            self.write(stream)
        self.write(f"{self.category}other-1")
        rows = self.ask("SELECT stream_name, global_position FROM get_category_messages(%s, 1)", self.category)
        self.assertEqual([row[0] for row in rows], streams)
        half = self.ask("SELECT stream_name FROM get_category_messages(%s, %s)", self.category, rows[4][1])
        self.assertEqual([row[0] for row in half], streams[4:])

    def test_members_of_a_group_share_a_category(self) -> None:
        for number in range(20):
            self.write(f"{self.category}-{number}")
        read = "SELECT stream_name FROM get_category_messages(%s, 1, 1000, NULL, %s, 3)"
        parts = [{row[0] for row in self.ask(read, self.category, member)} for member in range(3)]
        self.assertEqual(len(set.union(*parts)), 20)
        self.assertEqual(sum(len(part) for part in parts), 20)

    def test_a_category_is_read_by_where_its_messages_come_from(self) -> None:
        for number in range(4):
            origin = f"{self.category}from-1" if number % 2 else f"{self.category}else-1"
            self.write(self.stream, metadata={"correlationStreamName": origin})
        read = "SELECT position FROM get_category_messages(%s, 1, 1000, %s)"
        self.assertEqual(self.ask(read, self.category, f"{self.category}from"), [(1,), (3,)])

    def test_a_reader_of_a_category_passes_no_message_that_is_committed_later(self) -> None:
        """Eight writers at once; a reader follows by the last position that it saw."""

        def writes(number: int) -> None:
            with psycopg.connect(self.DSN, options=OPTIONS, autocommit=True) as connection:
                for _ in range(25):
                    given = str(uuid4()), f"{self.category}-{number}", "Happened", Jsonb({})
                    connection.execute("SELECT write_message(%s, %s, %s, %s)", given)

        writers = [threading.Thread(target=writes, args=(number,)) for number in range(8)]
        for writer in writers:
            writer.start()
        seen, after = 0, 1
        while True:
            running = any(writer.is_alive() for writer in writers)
            rows = self.ask("SELECT global_position FROM get_category_messages(%s, %s)", self.category, after)
            seen += len(rows)
            after = rows[-1][0] + 1 if rows else after
            if not running and not rows:
                break
        self.assertEqual(seen, 200)


def run(dsn: str, tenant: str) -> dict[str, Any]:
    """Runs them; what failed, in words."""
    Promised.DSN, Promised.TENANT = dsn, tenant
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Promised)
    return outcome(unittest.TextTestRunner(verbosity=0).run(suite))
