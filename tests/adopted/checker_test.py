"""Plants every kind of damage on copies of sound rows, and sees the checker find it. Needs no database."""

from __future__ import annotations

import copy
import json
import unittest
from random import Random
from uuid import UUID, uuid4

from checker import WRONG, Journals, check
from common import CATEGORY, Order, event_digest, stream_id
from tables import Row

TENANT = UUID("11111111-1111-4111-8111-111111111111")


class Planted(unittest.TestCase):
    """Three streams of twelve events, each appended two at a time, at both stores."""

    def setUp(self) -> None:
        dice = Random(7)
        self.lines: list[dict[str, object]] = []
        self.rows: list[Row] = []
        for number in range(3):
            identity = stream_id(TENANT, f"own/{number}")
            order = Order(identity)
            for _ in range(6):
                expected = order.version
                order.act(dice, TENANT, "writer", 2)
                events = order.clear_uncommitted_events()
                about = {"op": f"{number}-{expected}", "tenant": str(TENANT), "stream": str(identity)}
                ids = [{"id": str(event.event_id), "digest": event_digest(event)} for event in events]
                attempt = {"kind": "attempt", **about, "type": CATEGORY, "expected": expected, "events": ids}
                self.lines += [attempt, {"kind": "acked", **about, "store": "a"}]
                for event in events:
                    self.rows.append(
                        {
                            "global_position": str(len(self.rows) + 1),
                            "event_id": str(event.event_id),
                            "aggregate_id": str(identity),
                            "aggregate_type": CATEGORY,
                            "event_type": event.event_type,
                            "tenant_id": str(TENANT),
                            "actor_id": event.actor_id,
                            "version": str(event.aggregate_version),
                            "timestamp": event.occurred_at.isoformat(sep=" "),
                            "payload": json.dumps(event.model_dump(mode="json")),
                            "created_at": "2026-01-01 00:00:00+00",
                            "txid": "700",
                        }
                    )
        self.other = copy.deepcopy(self.rows)
        for row in self.other:
            row["global_position"] = str(int(row["global_position"]) + 1000)
            row["txid"] = "9"

    def report(self, prefix: bool = True) -> dict[str, object]:
        journals = Journals()
        for at, line in enumerate(self.lines):
            journals.read(json.dumps({**line, "mono_ms": at}).encode(), str(TENANT))
        return check(journals, self.rows, self.other, prefix=prefix)

    def found(self, *kinds: str, prefix: bool = True) -> None:
        """Exactly these kinds of damage are reported."""
        report = self.report(prefix)
        self.assertEqual(report["ok"], not kinds, report["details"])
        self.assertEqual({kind for kind in WRONG if report[kind]}, set(kinds), report["details"])

    def test_sound(self) -> None:
        self.found()
        report = self.report()
        self.assertEqual((report["acked"], report["rows"], report["common_rows"]), (36, 36, 36))

    def test_lost_at_the_end_of_a_stream(self) -> None:
        gone = self.rows.pop(11)
        self.other = [row for row in self.other if row["event_id"] != gone["event_id"]]
        self.found("lost")

    def test_lost_in_the_middle_leaves_a_gap(self) -> None:
        gone = self.rows.pop(4)
        self.other = [row for row in self.other if row["event_id"] != gone["event_id"]]
        self.found("lost", "reordered", "holes")

    def test_accepted_by_the_store_that_is_not_the_authority(self) -> None:
        self.rows.pop(11)
        self.found("lost", "foreign")

    def test_duplicated(self) -> None:
        self.rows.append({**self.rows[3], "global_position": "99"})
        self.found("duplicated", "reordered")

    def test_two_rows_change_places(self) -> None:
        self.rows[3]["version"], self.rows[4]["version"] = self.rows[4]["version"], self.rows[3]["version"]
        self.found("reordered", "differing")

    def test_positions_against_versions(self) -> None:
        first, second = self.rows[3], self.rows[4]
        first["global_position"], second["global_position"] = second["global_position"], first["global_position"]
        self.found("reordered")

    def test_payload_changed_at_both(self) -> None:
        for rows in (self.rows, self.other):
            rows[5]["payload"] = rows[5]["payload"].replace('"n": ', '"n": 1')
        self.found("changed")

    def test_numbers_are_compared_as_jsonb_compares_them(self) -> None:
        for row in self.rows + self.other:
            row["payload"] = row["payload"].replace("1e+20", "100000000000000000000")
        self.found()

    def test_time_and_actor_changed(self) -> None:
        for column, value in (("timestamp", "2026-01-01 00:00:00+00"), ("actor_id", None)):
            with self.subTest(column):
                self.setUp()
                for rows in (self.rows, self.other):
                    rows[5][column] = value
                self.found("changed")

    def test_a_column_that_no_writer_gives_differs_between_the_stores(self) -> None:
        self.other[7]["created_at"] = "2026-01-01 00:00:01+00"
        self.found("differing")

    def test_a_column_that_only_one_store_has(self) -> None:
        self.other[7]["schema_version"] = "2"
        self.found("differing")

    def test_stray(self) -> None:
        extra = {**self.rows[11], "event_id": str(uuid4()), "version": "13", "global_position": "99"}
        self.rows.append(extra)
        self.found("strays")

    def refused(self, *kinds: str) -> None:
        """The last append of the last stream has other outcomes than an acknowledgement."""
        about = {key: value for key, value in self.lines.pop().items() if key != "kind"}
        self.lines += [{"kind": kind, **about, "sqlstate": "RH001", "there": False} for kind in kinds]

    def test_refused_and_there(self) -> None:
        self.refused("refused")
        self.found("denied")

    def test_conflict_and_there(self) -> None:
        self.refused("conflict")
        self.found("denied")

    def test_unknown_may_be_there_or_not(self) -> None:
        self.refused("unknown", "truth")
        self.found()
        del self.rows[-2:], self.other[-2:]
        self.found()

    def test_a_killed_writers_attempt_may_be_there_or_not(self) -> None:
        self.refused()
        self.found()
        del self.rows[-2:], self.other[-2:]
        self.found()

    def test_holes_in_the_copy(self) -> None:
        del self.other[3]
        self.found("holes")
        self.found(prefix=False)

    def test_a_torn_line_is_counted(self) -> None:
        journals = Journals()
        journals.read(b'{"kind":"att', str(TENANT))
        self.assertEqual(journals.torn, 1)

    def test_an_outcome_after_the_tables_were_read_decides_nothing(self) -> None:
        journals = Journals()
        for at, line in enumerate(self.lines):
            journals.read(json.dumps({**line, "mono_ms": at}).encode(), str(TENANT), before=at < len(self.lines) - 1)
        del self.rows[-2:], self.other[-2:]
        self.assertTrue(check(journals, self.rows, self.other, prefix=True)["ok"])


if __name__ == "__main__":
    unittest.main()
