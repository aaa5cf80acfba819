"""What the checker knows of a library's table: whose a row is, and what is in it. It imports no library."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from journal import digest, microseconds

#: A row's columns, as PostgreSQL writes them.
Row = dict[str, Any]


class Seen(NamedTuple):
    """An event as its row has it."""

    id: str
    stream: str
    type: str
    #: From 1.
    version: int
    position: int
    digest: str


@dataclass(frozen=True)
class Table:
    """The table of a library."""

    name: str
    #: The condition of a tenant's rows; `$1` is its name.
    of_tenant: str
    position: str
    #: The columns that a target gives anew.
    own: tuple[str, ...]
    see: Callable[[Row], Seen]


def _eventsource_py(row: Row) -> Seen:
    at = microseconds(datetime.fromisoformat(row["timestamp"]))
    payload = json.loads(row["payload"])
    given = {"event_type": row["event_type"], "actor_id": row["actor_id"], "at": at, "payload": payload}
    place = int(row["version"]), int(row["global_position"])
    return Seen(row["event_id"], row["aggregate_id"], row["aggregate_type"], *place, digest(given))


def _pyeventsourcing(row: Row) -> Seen:
    state = json.loads(bytes.fromhex(row["state"].removeprefix("\\x")))
    place = int(row["originator_version"]), int(row["notification_id"])
    # The library gives events no ids; those of the writers have one among their attributes.
    given = digest({"topic": row["topic"], "state": state})
    return Seen(state["mark"], row["originator_id"], "Order", *place, given)


def _message_db(row: Row) -> Seen:
    place = int(row["position"]) + 1, int(row["global_position"])
    given = {"type": row["type"], "data": json.loads(row["data"]), "metadata": json.loads(row["metadata"])}
    return Seen(row["id"], row["stream_name"], "order", *place, digest(given))


def _emmett(row: Row) -> Seen:
    place = int(row["stream_position"]), int(row["global_position"])
    data, metadata = json.loads(row["message_data"]), json.loads(row["message_metadata"])
    given = {"type": row["message_type"], "data": data, "metadata": metadata}
    return Seen(row["message_id"], row["stream_id"], "order", *place, digest(given))


TABLES = {
    "eventsource-py": Table(
        "events", "tenant_id = $1::text::uuid", "global_position", ("global_position", "txid"), _eventsource_py
    ),
    "pyeventsourcing": Table(
        "stored_events",
        "originator_id LIKE $1::text || '/%'",
        "notification_id",
        ("notification_id",),
        _pyeventsourcing,
    ),
    "message-db": Table(
        "message_store.messages",
        "stream_name LIKE $1::text || '/%'",
        "global_position",
        ("global_position",),
        _message_db,
    ),
    "emmett": Table(
        "emt_messages",
        "stream_id LIKE $1::text || '/%'",
        "global_position",
        ("global_position", "transaction_id"),
        _emmett,
    ),
}
