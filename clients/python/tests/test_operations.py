"""Every operation of the API is called by a method of the client, against a real server."""

from __future__ import annotations

import json
import re
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from conftest import TOKEN, URL
from rehome_client import AsyncClient, Conflict, NotFound, Problem, __version__
from rehome_client.models import API_VERSION

HERE = Path(__file__).resolve().parent
DOCUMENT = json.loads((HERE / "../../openapi.json").read_text())


class Recorded(httpx.AsyncHTTPTransport):
    """Writes down which operations were called."""

    def __init__(self) -> None:
        super().__init__()
        self.called: set[str] = set()
        self._operations = {
            f"{method.upper()} {path}": re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z")
            for path, methods in DOCUMENT["paths"].items()
            for method in methods
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().partition("?")[0]
        fits = [
            name
            for name, pattern in self._operations.items()
            if name.startswith(f"{request.method} ") and pattern.match(path)
        ]
        # `/v1/drains/plan` is none of the drains.
        named = [name for name in fits if name.endswith(f" {path}")]
        self.called.update(named or fits)
        return await super().handle_async_request(request)

    @property
    def missing(self) -> set[str]:
        return set(self._operations) - self.called


async def refused(call: Any, code: str) -> None:
    """A call that this deployment refuses."""
    with pytest.raises(Problem) as why:
        await call
    assert why.value.code == code, why.value


async def test_every_operation_has_a_method(tenant: UUID) -> None:
    recorded = Recorded()
    async with AsyncClient(URL, token=TOKEN, transport=recorded) as client:
        await of_applications(client, tenant)
        await of_migrations(client, tenant)
        await of_drains(client)
        await of_the_deployment(client, tenant)
    assert not recorded.missing


async def of_applications(client: AsyncClient, tenant: UUID) -> None:
    assert not await client.exists(tenant)
    placed: Any = {"event_type": "Placed", "data": {"text": "a b/%\u2028 ü\x85"}, "metadata": {"by": "me"}}
    for stream_type, stream_id in [("order", "o-1"), ("a/b %2F", "..")]:
        done = await client.append(tenant, stream_type, stream_id, [placed, placed], expected_version="no_stream")
        assert done["last_version"] == 2
        page = await client.read_stream(tenant, stream_type, stream_id, from_version=2, limit=10)
        assert [event["version"] for event in page["events"]] == [2]
        assert page["events"][0]["stream_id"] == stream_id
        assert page["events"][0]["data"] == placed["data"]
    assert await client.exists(tenant)
    page_of_feed = await client.read_feed(tenant, after_seq=1, limit=1)
    assert [event["seq"] for event in page_of_feed["events"]] == [2]
    # What is followed is read as what is read in parts: no character ends a line that does not.
    async with aclosing(client.follow(tenant)) as followed:
        seen = [await anext(followed) for _ in range(4)]
    assert seen == [event async for event in client.feed(tenant)]
    assert await client.checkpoint(tenant, "a reader") == 0
    assert await client.set_checkpoint(tenant, "a reader", 3) == {"name": "a reader", "seq": 3}
    assert await client.checkpoint(tenant, "a reader") == 3


async def of_migrations(client: AsyncClient, tenant: UUID) -> None:
    plan = await client.plan(tenant, "dedicated")
    assert plan["tenant_id"] == str(tenant)
    assert (await client.estimate(1_000_000))["total_seconds"] > 0
    await client.probe(tenant, "dedicated")
    await client.checklist_before()
    key = str(uuid4())
    started = await client.start_migration(tenant, "dedicated", options={"cutover": "manual"}, key=key, reason="a test")
    again = await client.start_migration(tenant, "dedicated", options={"cutover": "manual"}, key=key, reason="a test")
    assert started["id"] == again["id"]
    migration = started["id"]
    async with aclosing(client.watch_migration(migration)) as seen:
        async for found in seen:
            if found["state"] == "dual_write" and "cutover" in found["allowed_actions"]:
                break
    await client.take_baseline(migration, window="1s")
    await client.baseline(migration)
    await client.migration_worker(migration)
    await client.checklist(migration, "during")
    assert (await client.verify_migration(migration, level="full"))["ok"] is True
    assert (await client.pause_migration(migration, reason="a break"))["state"] == "paused"
    await client.resume_migration(migration)
    await client.tune_migration(migration, {"lag_events_max": 777}, reason="more")
    assert (await client.migration_options(migration))["lag_events_max"] == 777
    with pytest.raises(Conflict):
        await client.repair_migration(migration)
    with pytest.raises(Conflict):
        await client.withdraw_cutover(migration)
    with pytest.raises(Conflict):
        await client.acknowledge_migration(migration)
    _, tag = await client.seen(migration)
    await client.tune_migration(migration, {"lag_events_max": 778})
    await client.abort_migration(migration, purge_target=True)
    ended = await client.wait_for_migration(migration, "cleaned_up")
    assert ended["state"] == "rolled_back"
    # What was seen is not what is there.
    await refused(client.abort_migration(migration, if_match=tag), "changed_meanwhile")

    moved = await client.start_migration(tenant, "dedicated", options={"cutover": "manual", "rollback_window": "1h"})
    async with aclosing(client.watch_migration(moved["id"])) as seen:
        async for found in seen:
            if found["state"] == "dual_write" and "cutover" in found["allowed_actions"]:
                break
    await client.cut_over(moved["id"])
    await client.wait_for_migration(moved["id"], "cut_over")
    back = await client.return_tenant(moved["id"], options={"cutover": "auto"})
    await client.wait_for_migration(back["id"])
    assert (await client.tenant(tenant))["store"] == "shared"

    entries = [entry async for entry in client.each_log_entry(migration)]
    assert [entry["index"] for entry in entries] == list(range(1, len(entries) + 1))
    assert any(entry.get("reason") == "a break" for entry in entries)
    ids = [found["id"] async for found in client.each_migration(tenant=tenant)]
    assert ids == [back["id"], moved["id"], migration]
    with pytest.raises(NotFound):
        await client.migration(uuid4())


async def of_drains(client: AsyncClient) -> None:
    tenant = uuid4()
    await client.append(tenant, "order", "o-1", [{"event_type": "Placed", "data": 1}])
    plan = await client.plan_drain(["shared"], ["dedicated"], tenants=[tenant])
    assert plan["moves"] == 1
    drain = await client.start_drain(["shared"], ["dedicated"], tenants=[tenant], reason="a test")
    await client.pause_drain(drain["id"])
    await client.tune_drain(drain["id"], settings={"concurrency": 2})
    await client.resume_drain(drain["id"])
    async with aclosing(client.watch_drain(drain["id"], every=0.1)) as seen:
        states = [found["state"] async for found in seen]
    assert states[-1] == "finished"
    tenants = [found async for found in client.each_drain_tenant(drain["id"])]
    assert [(found["tenant_id"], found["state"]) for found in tenants] == [(str(tenant), "moved")]
    assert drain["id"] in [found["id"] for found in (await client.drains(limit=10))["drains"]]
    assert (await client.drain(drain["id"]))["moved"] == 1
    with pytest.raises(Conflict):
        await client.retry_drain(drain["id"])
    with pytest.raises(Conflict):
        await client.cancel_drain(drain["id"])
    # A plan is started as it is.
    back = await client.plan_drain(["dedicated"], ["shared"], tenants=[tenant])
    started = await client.start_drain(plan=back)
    async with aclosing(client.watch_drain(started["id"], every=0.1)) as seen:
        assert [found["state"] async for found in seen][-1] == "finished"


async def of_the_deployment(client: AsyncClient, tenant: UUID) -> None:
    assert await client.is_live() and await client.is_ready()
    assert "status" in await client.migration_health()
    assert "migration_state" in await client.metrics()
    assert (await client.openapi())["info"]["version"] == __version__ == API_VERSION
    assert [store["id"] for store in (await client.stores())["stores"]] == ["dedicated", "shared"]
    assert (await client.store("dedicated"))["ok"] is True
    assert (await client.cordon("dedicated", reason="a test"))["there"] is True
    assert (await client.uncordon("dedicated"))["there"] is False
    assert (await client.pin(tenant, reason="a test"))["why"] == "a test"
    assert [row["tenant_id"] async for row in client.each_tenant(pinned=True)] == [str(tenant)]
    assert (await client.unpin(tenant))["there"] is False
    assert (await client.purge(tenant, "dedicated", close_window=True))["store"] == "dedicated"
    counted = await client.remove_tenant(tenant)
    assert counted["events"] > 0 and counted["removed"] is False
    await refused(client.remove_tenant(tenant, events=counted["events"] + 1), "not_removable")
    assert all(not found["recovered"] for found in await client.recover())
    # Of tables of other libraries, which this deployment does not have.
    await refused(client.unguard(tenant), "refused")
    await refused(client.translate_position(tenant, 1, from_="shared", to="dedicated"), "refused")
    assert (await client.move_checkpoints(tenant, from_="shared", to="dedicated"))["moved"] == []

    name = f"of-{tenant}"
    secret, token = await client.create_token(name, "tenant", tenants=[tenant], expires_in="1h")
    assert (token["name"], token["state"]) == (name, "good")
    async with AsyncClient(URL, token=lambda: secret) as bound:
        assert await bound.exists(tenant)
        await refused(bound.read_feed(uuid4()), "forbidden")
        await refused(bound.stores(), "forbidden")
        old, (secret, _) = secret, await client.rotate_token(name)
        assert old != secret and await bound.exists(tenant)
        await client.revoke_token(name)
        await refused(bound.read_feed(tenant), "unauthorized")
    assert name in [one["name"] for one in (await client.tokens())["tokens"]]
