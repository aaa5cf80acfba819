# Made by clients/generate.py from _async/events.py.
"""Calls for applications: append, read, follow, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from contextlib import closing

from .._core import ExpectedVersion, Id, document, goes_in_path, request, with_ids
from ..errors import NotFound
from ..models import Appended, Checkpoint, EventDocument, FeedPage, NewEventDocument, StreamPage
from .transport import Transport

STREAM = "/v1/tenants/{tenant}/streams/{type}/{id}/events"
FEED = "/v1/tenants/{tenant}/events"
CHECKPOINT = "/v1/tenants/{tenant}/subscriptions/{name}"
#: Default number of events in a page.
PAGE = 500


class Events(Transport):
    """Calls for applications."""

    def append(
        self,
        tenant: Id,
        stream_type: str,
        stream_id: str,
        events: Iterable[NewEventDocument],
        *,
        expected_version: ExpectedVersion = "any",
        traceparent: str | None = None,
    ) -> Appended:
        """Appends all of the events or none, and returns when they are stored.

        Events without an `event_id` get one before the first attempt, and every retry sends the same ids: no event is
        stored twice, even if a response is lost or the tenant moves meanwhile. An application that retries after a
        crash generates the ids itself and stores them.

        Raises `VersionConflict` if the stream is not at `expected_version` (0: no event yet), and `IdConflict`.
        """
        names = {"tenant": tenant, "type": stream_type, "id": stream_id}
        body = document(expected_version=expected_version, events=with_ids(events))
        headers = {"traceparent": traceparent}
        if goes_in_path(stream_type, stream_id):
            sent = request("POST", STREAM, names, body=body, headers=headers)
        else:
            body |= {"stream_type": stream_type, "stream_id": stream_id}
            sent = request("POST", "/v1/tenants/{tenant}/append", {"tenant": tenant}, body=body, headers=headers)
        appended: Appended = self._json(sent)
        return appended

    def read_stream(
        self,
        tenant: Id,
        stream_type: str,
        stream_id: str,
        *,
        from_version: int = 1,
        limit: int | None = None,
    ) -> StreamPage:
        """One page of a stream; it can have fewer than `limit` events. An empty page is the end."""
        if goes_in_path(stream_type, stream_id):
            names = {"tenant": tenant, "type": stream_type, "id": stream_id}
            sent = request("GET", STREAM, names, query={"from_version": from_version, "limit": limit})
        else:
            body = document(stream_type=stream_type, stream_id=stream_id, from_version=from_version, limit=limit)
            sent = request("POST", "/v1/tenants/{tenant}/read", {"tenant": tenant}, body=body)
        page: StreamPage = self._json(sent)
        return page

    def stream(
        self, tenant: Id, stream_type: str, stream_id: str, *, from_version: int = 1
    ) -> Generator[EventDocument, None, None]:
        """All events of a stream, up to its current end."""
        while True:
            page = self.read_stream(tenant, stream_type, stream_id, from_version=from_version, limit=PAGE)
            if not page["events"]:
                return
            for event in page["events"]:
                yield event
            from_version = page["next_from_version"]

    def read_feed(self, tenant: Id, *, after_seq: int = 0, limit: int | None = None) -> FeedPage:
        """One page of the tenant's history; it can have fewer than `limit` events. An empty page is the end.

        Raises `PositionBeyondEnd` if `after_seq` is beyond the end of the history.
        """
        query = {"after_seq": after_seq, "limit": limit}
        page: FeedPage = self._json(request("GET", FEED, {"tenant": tenant}, query=query))
        return page

    def feed(self, tenant: Id, *, after_seq: int = 0) -> Generator[EventDocument, None, None]:
        """All events of the tenant in order, up to the current end."""
        while True:
            page = self.read_feed(tenant, after_seq=after_seq, limit=PAGE)
            if not page["events"]:
                return
            for event in page["events"]:
                yield event
            after_seq = page["next_after_seq"]

    def follow(self, tenant: Id, *, after_seq: int = 0) -> Generator[EventDocument, None, None]:
        """Yields every event after that position once, in order, and then new events; it does not end.

        Continues across migrations of the tenant, server stops and broken connections. Raises `PositionBeyondEnd` if
        the position is beyond the end of the history, and `NoAnswer` if no server responds for `retry_for` seconds.
        """
        with closing(self._followed(tenant, after_seq)) as events:
            for event in events:
                if event is not None:
                    yield event

    def _followed(self, tenant: Id, at: int) -> Generator[EventDocument | None, None, None]:
        while True:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(at)}
            sent = request("GET", FEED, {"tenant": tenant}, headers=headers)
            with closing(self._messages(sent)) as messages:
                for message in messages:
                    if message is None:
                        yield None
                        continue
                    if message.event == "error":
                        raise message.problem()
                    event: EventDocument = message.json()
                    at = event["seq"]
                    yield event

    def checkpoint(self, tenant: Id, name: str) -> int:
        """The last position that a subscription has processed; 0 if it is new."""
        found: Checkpoint = self._json(request("GET", CHECKPOINT, {"tenant": tenant, "name": name}))
        return found["seq"]

    def set_checkpoint(self, tenant: Id, name: str, seq: int) -> Checkpoint:
        """Stores the last position that a subscription has processed, for all processes."""
        sent = request("PUT", CHECKPOINT, {"tenant": tenant, "name": name}, body={"seq": seq})
        kept: Checkpoint = self._json(sent)
        return kept

    def subscribe(
        self, tenant: Id, name: str, *, keep_every: int = 100, keep_after: float = 5.0
    ) -> Generator[EventDocument, None, None]:
        """Follows from the subscription's checkpoint, and advances it over processed events.

        An event counts as processed when the caller requests the next one. The checkpoint is stored every `keep_every`
        events, every `keep_after` seconds, and when the generator is closed; the next follower receives the events
        after it again. At least once, in order.
        """
        kept = dealt_with = self.checkpoint(tenant, name)
        kept_at = time.monotonic()
        try:
            with closing(self._followed(tenant, kept)) as events:
                for event in events:
                    if event is not None:
                        yield event
                        dealt_with = event["seq"]
                    due = dealt_with - kept >= keep_every or time.monotonic() - kept_at >= keep_after
                    if due and dealt_with > kept:
                        self.set_checkpoint(tenant, name, dealt_with)
                        kept, kept_at = dealt_with, time.monotonic()
        finally:
            if dealt_with > kept:
                self.set_checkpoint(tenant, name, dealt_with)

    def exists(self, tenant: Id) -> bool:
        """Whether the tenant has ever had a write."""
        try:
            self.read_feed(tenant, limit=1)
        except NotFound:
            return False
        return True
