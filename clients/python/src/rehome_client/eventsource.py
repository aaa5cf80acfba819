"""The store ports of eventsource-py (0.8) over a server of rehome.

`RehomeEventStore` is a `FullEventStore` whose events are one tenant's history. An application of that library holds it
like any other of its stores, and does not notice when the tenant moves. Needs the extra `eventsource`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID, uuid4

from eventsource import EventRegistry
from eventsource.domain import StreamId
from eventsource.domain.event import DomainEvent
from eventsource.domain.event_registry import default_registry
from eventsource.domain.exceptions import DuplicateEventError, OptimisticLockError, PositionForeignError
from eventsource.ports import (
    AppendResult,
    CategoryReadOptions,
    EventEnvelope,
    ExpectedVersion,
    FeedReadOptions,
    Position,
    ReadDirection,
    StreamReadOptions,
)

from ._async import AsyncClient
from ._core import ExpectedVersion as Expected
from ._core import Id
from .errors import IdConflict, NotFound, PositionBeyondEnd, VersionConflict
from .models import EventDocument, NewEventDocument

#: A version that no stream has.
NO_VERSION = 2**63 - 1
#: The library's constants for expectations other than a version.
SENTINELS = {"any": -1, "no_stream": 0, "stream_exists": -2}
#: Events of one read.
PAGE = 500


class RehomeEventStore:
    """The events of one tenant.

    The store does not close `client`. `tenant` is the tenant at the server; an event's own `tenant_id` is stored with
    it, and the filters of the library's reads use it. The stream's type is the category, its id the aggregate's.

    Two things differ from the library's own stores. A repeated append of the same events returns the first result;
    `DuplicateEventError` is raised if an id is in use for another event. And a read of a category reads the whole
    history: the server has no index of categories.
    """

    max_append_batch: int | None = None

    def __init__(self, client: AsyncClient, tenant: Id, event_registry: EventRegistry | None = None) -> None:
        self._client = client
        self._tenant = str(tenant)
        self._registry = event_registry or default_registry

    @property
    def store_id(self) -> str:
        """The feed's id is the tenant's, because positions stay valid when the tenant moves."""
        return f"rehome:{self._tenant}"

    async def append(
        self, stream: StreamId, events: Sequence[DomainEvent], expected: ExpectedVersion
    ) -> AppendResult:
        """Appends all of the events or none."""
        if not events:
            raise ValueError("cannot append an empty batch of events")
        version = await self._expected(stream, expected)
        try:
            done = await self._client.append(
                self._tenant,
                stream.category,
                str(stream.aggregate_id),
                [_new(event) for event in events],
                expected_version=version,
            )
        except VersionConflict as conflict:
            raise _lock_error(stream, expected, conflict.actual_version) from conflict
        except IdConflict as conflict:
            raise DuplicateEventError(f"event_id {conflict.event_id} already exists in the store") from conflict
        return AppendResult(stream=stream, new_version=done["last_version"], position=self._position(done["first_seq"]))

    async def _expected(self, stream: StreamId, expected: ExpectedVersion) -> Expected:
        if expected.kind == "exact":
            return expected.version or 0
        if expected.kind == "no_stream":
            return "no_stream"
        # Streams are never deleted, so it still exists at the append.
        if expected.kind == "stream_exists" and await self.get_stream_version(stream) == 0:
            raise _lock_error(stream, expected, 0)
        return "any"

    async def read_stream(
        self, stream: StreamId, options: StreamReadOptions | None = None
    ) -> AsyncIterator[EventEnvelope]:
        """The events of a stream."""
        asked = options or StreamReadOptions()
        first, last = max(asked.from_version or 1, 1), asked.to_version
        left = asked.limit if asked.limit is not None else NO_VERSION
        if asked.direction is ReadDirection.BACKWARD:
            version = await self.get_stream_version(stream)
            last = version if last is None else min(last, version)
            while left > 0 and last >= first:
                start = max(first, last - PAGE + 1)
                part = [event async for event in self._versions(stream, start, last)]
                for event in reversed(part[-left:]):
                    yield event
                left, last = left - len(part), start - 1
            return
        async for event in self._versions(stream, first, last):
            if left <= 0:
                return
            yield event
            left -= 1

    async def _versions(self, stream: StreamId, first: int, last: int | None) -> AsyncIterator[EventEnvelope]:
        try:
            async for event in self._client.stream(
                self._tenant, stream.category, str(stream.aggregate_id), from_version=first
            ):
                if last is not None and event["version"] > last:
                    return
                yield self._envelope(event)
        except (NotFound, PositionBeyondEnd):
            return

    async def get_stream_version(self, stream: StreamId) -> int:
        """The number of events in a stream."""
        try:
            await self._client.read_stream(
                self._tenant, stream.category, str(stream.aggregate_id), from_version=NO_VERSION, limit=1
            )
        except PositionBeyondEnd as beyond:
            return beyond.end
        except NotFound:
            return 0
        raise AssertionError("a stream has a version that no stream has")

    async def event_exists(self, event_id: UUID) -> bool:
        """Whether an event has this id.

        Appends at a version that no stream has: the server refuses it in any case, and the refusal of a known id says
        that it is known.
        """
        probe: NewEventDocument = {"event_id": str(event_id), "event_type": "probe", "data": None}
        try:
            await self._client.append(
                self._tenant, "probe", str(uuid4()), [probe], expected_version=NO_VERSION
            )
        except IdConflict:
            return True
        except (VersionConflict, NotFound):
            return False
        raise AssertionError("an append to a version that no stream has was taken")

    async def read_all(
        self, from_position: Position | None = None, options: FeedReadOptions | None = None
    ) -> AsyncIterator[EventEnvelope]:
        """The tenant's history, in its order."""
        asked = options or FeedReadOptions()
        left = asked.limit if asked.limit is not None else NO_VERSION
        async for envelope in self._history(self._seq(from_position)):
            if left <= 0:
                return
            if asked.tenant_id is None or envelope.event.tenant_id == asked.tenant_id:
                yield envelope
                left -= 1

    async def _history(self, after: int) -> AsyncIterator[EventEnvelope]:
        try:
            async for event in self._client.feed(self._tenant, after_seq=after):
                yield self._envelope(event)
        except NotFound:
            return

    async def current_position(self) -> Position | None:
        """The position of the last event."""
        try:
            # A position beyond the end: the refusal names the end.
            await self._client.read_feed(self._tenant, after_seq=NO_VERSION, limit=1)
        except PositionBeyondEnd as beyond:
            return self._position(beyond.end) if beyond.end else None
        except NotFound:
            return None
        raise AssertionError("a history has a position that no history has")

    async def read_category(
        self, category: str, options: CategoryReadOptions | None = None
    ) -> AsyncIterator[EventEnvelope]:
        """The events of all streams of a category, in the order in which they were stored."""
        asked = options or CategoryReadOptions()
        found = [
            envelope
            async for envelope in self._history(0)
            if envelope.stream_id.category == category
            and (asked.tenant_id is None or envelope.event.tenant_id == asked.tenant_id)
            and (asked.from_timestamp is None or envelope.stored_at >= asked.from_timestamp)
        ]
        found.sort(key=lambda envelope: (envelope.stored_at, envelope.position.key if envelope.position else ()))
        for envelope in found[: asked.limit]:
            yield envelope

    def _position(self, seq: int) -> Position:
        return Position(store_id=self.store_id, key=(seq,))

    def _seq(self, position: Position | None) -> int:
        if position is None:
            return 0
        if position.store_id != self.store_id:
            raise PositionForeignError(f"a position of {position.store_id!r}, and this is {self.store_id!r}")
        return int(position.key[0])

    def _envelope(self, event: EventDocument) -> EventEnvelope:
        kind = self._registry.get(event["event_type"])
        return EventEnvelope(
            event=kind.model_validate(event["data"]),
            stream_id=StreamId(aggregate_id=UUID(event["stream_id"]), category=event["stream_type"]),
            stream_version=event["version"],
            position=self._position(event["seq"]),
            stored_at=datetime.fromisoformat(event["recorded_at"]),
        )


def _new(event: DomainEvent) -> NewEventDocument:
    return {
        "event_id": str(event.event_id),
        "event_type": event.event_type,
        "occurred_at": event.occurred_at.isoformat(),
        "data": event.model_dump(mode="json"),
    }


def _lock_error(stream: StreamId, expected: ExpectedVersion, actual: int) -> OptimisticLockError:
    meant = expected.version if expected.kind == "exact" else SENTINELS[expected.kind]
    return OptimisticLockError(stream.aggregate_id, meant or 0, actual)
