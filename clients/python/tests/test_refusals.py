"""Refusals are exceptions of their kind, and what is tried again is what may be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from conftest import TOKEN, URL, Breaker
from rehome_client import (
    AsyncClient,
    BadRequest,
    Client,
    IdConflict,
    NoAnswer,
    NotFound,
    OutcomeUnknown,
    PositionBeyondEnd,
    TooLarge,
    Unauthorized,
    Unavailable,
    VersionConflict,
    WritesPaused,
)

PLACED: Any = {"event_type": "Placed", "data": {}}


def test_conflicts_say_what_is_there(client: Client, tenant: UUID) -> None:
    event = {**PLACED, "event_id": str(uuid4())}
    first = client.append(tenant, "order", "o-1", [event], expected_version=0)
    # The same again is answered as the first time, whatever is expected.
    assert client.append(tenant, "order", "o-1", [event], expected_version=0) == first
    with pytest.raises(VersionConflict) as version:
        client.append(tenant, "order", "o-1", [PLACED], expected_version="no_stream")
    assert version.value.actual_version == 1
    with pytest.raises(IdConflict) as conflict:
        client.append(tenant, "order", "o-2", [event])
    assert conflict.value.event_id == event["event_id"]
    with pytest.raises(PositionBeyondEnd) as beyond:
        client.read_feed(tenant, after_seq=5)
    assert (beyond.value.position, beyond.value.end) == (5, 1)
    with pytest.raises(PositionBeyondEnd):
        next(client.follow(tenant, after_seq=5))


def test_what_makes_no_sense_is_refused(client: Client, tenant: UUID) -> None:
    with pytest.raises(NotFound) as missing:
        client.tenant(tenant)
    assert missing.value.tenant_id == str(tenant) and missing.value.request_id
    with pytest.raises(BadRequest):
        client.append(tenant, "order", "o-1", [])
    with pytest.raises(BadRequest):
        client.append("no uuid", "order", "o-1", [PLACED])
    with pytest.raises(TooLarge) as large:
        client.append(tenant, "order", "o-1", [PLACED] * 1001)
    assert large.value.limit == 1000
    with pytest.raises(ValueError):
        client.append(tenant, "order", "o-1", [{"event_type": "Placed", "data": float("nan")}])
    with Client(URL, token="rehome_of_nobody") as stranger, pytest.raises(Unauthorized):
        stranger.read_feed(tenant)


def test_tokens_do_not_travel_in_the_clear() -> None:
    with pytest.raises(ValueError, match="in the clear"):
        Client("http://rehome.example:7411", token="rehome_x")
    with pytest.raises(ValueError, match="no http"):
        Client("rehome.example:7411")
    Client("http://rehome.example:7411", token="rehome_x", without_tls=True).close()
    Client("http://127.0.0.1:7411", token="rehome_x").close()


def test_a_server_with_tls_is_known_by_who_vouches_for_it(tenant: UUID) -> None:
    url, ca = os.environ["REHOME_TLS"], os.environ["REHOME_CA"]
    with Client(url, token=TOKEN, ca_file=ca) as client:
        assert client.append(tenant, "order", "o-1", [PLACED])["last_version"] == 1
    with Client(url, token=TOKEN, retry_for=0) as stranger, pytest.raises(NoAnswer):
        stranger.is_live()


async def test_an_append_whose_answers_are_lost_is_stored_once(tenant: UUID) -> None:
    # Every second answer is lost on its way.
    breaker = Breaker(every=2)
    async with AsyncClient(breaker.url, token=TOKEN) as client:
        for version in range(20):
            done = await client.append(tenant, "order", "o-1", [PLACED], expected_version=version)
            assert done["first_version"] == version + 1
        assert len([event async for event in client.stream(tenant, "order", "o-1")]) == 20
    breaker.close()
    assert breaker.broke >= 5


def answers(*given: Callable[[httpx.Request], httpx.Response]) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    """A transport that gives these answers in turn, and what it was asked."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return given[len(asked) - 1](request)

    return httpx.MockTransport(answer), asked


def later(code: str, status: int = 503) -> Callable[[httpx.Request], httpx.Response]:
    document = {"type": f"urn:rehome:problem:{code}", "detail": "later", "status": status}
    return lambda _: httpx.Response(status, json=document, headers={"Retry-After": "0"})


def lost(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("the connection broke", request=request)


def unreached(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("nobody is there", request=request)


def done(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"state": "paused"})


def test_retries_send_the_same(tenant: UUID) -> None:
    transport, asked = answers(later("writes_paused"), lost, later("too_many_appends", 429), unreached, done)
    with Client("http://localhost", transport=transport) as client:
        client.append(tenant, "order", "o-1", [PLACED, PLACED])
        bodies = {request.content for request in asked}
        assert len(asked) == 5 and len(bodies) == 1
        ids = [event["event_id"] for event in json.loads(bodies.pop())["events"]]
        assert len({UUID(one) for one in ids}) == 2
    transport, asked = answers(lost, done)
    with Client("http://localhost", transport=transport) as client:
        client.start_migration(tenant, "dedicated")
        assert len({request.headers["Idempotency-Key"] for request in asked}) == 1


def test_an_action_is_not_asked_for_twice() -> None:
    # Nothing was done: it is.
    for first in (later("stopping"), later("too_many_requests", 429), unreached):
        transport, asked = answers(first, done)
        with Client("http://localhost", transport=transport) as client:
            assert client.pause_migration("m")["state"] == "paused"
        assert len(asked) == 2
    # Who knows: it is not.
    for first, error in ((lost, OutcomeUnknown), (later("timed_out"), Unavailable)):
        transport, asked = answers(first, done)
        with Client("http://localhost", transport=transport) as client, pytest.raises(error):
            client.pause_migration("m")
        assert len(asked) == 1


def test_patience_ends() -> None:
    transport, _ = answers(later("writes_paused"))
    with Client("http://localhost", transport=transport, retry_for=0) as client, pytest.raises(WritesPaused) as paused:
        client.append(uuid4(), "order", "o-1", [PLACED])
    assert paused.value.retry_after == 0
    transport, _ = answers(unreached)
    with Client("http://localhost", transport=transport, retry_for=0) as client, pytest.raises(NoAnswer):
        client.is_live()
