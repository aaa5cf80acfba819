"""A tenant moves there and back while clients write and follow, and answers get lost: nothing is lost, stored twice,
out of order or changed."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing, closing
from typing import Any
from uuid import UUID

from conftest import TOKEN, URL, Breaker
from rehome_client import AsyncClient, Client
from rehome_client.models import EventDocument, Migration

#: Appends of each writer between two steps of the operator.
BETWEEN = 30
OPTIONS: Any = {"cutover": "manual", "cutover_timeout_ms": 60_000, "rollback_window": "1h"}


class Record:
    """What one writer was told."""

    def __init__(self, number: int) -> None:
        self.number = number
        # The last two write to one stream, and expect nothing of it.
        self.stream = f"of-{number}" if number < 2 else "all"
        self.acked: list[tuple[int, int, list[int]]] = []

    def next(self) -> tuple[list[Any], Any]:
        n = len(self.acked)
        data = [n * 10 + part for part in range(n % 3 + 1)]
        events = [{"event_type": "Changed", "data": {"writer": self.number, "n": one}} for one in data]
        version = self.acked[-1][1] if self.acked else 0
        return events, version if self.number < 2 else "any"

    def ack(self, events: list[Any], done: Any) -> None:
        assert done["last_version"] - done["first_version"] == len(events) - 1
        assert done["last_seq"] - done["first_seq"] == len(events) - 1
        self.acked.append((done["first_seq"], done["last_version"], [event["data"]["n"] for event in events]))


def check(records: list[Record], history: list[EventDocument], followed: list[EventDocument]) -> None:
    assert [event["seq"] for event in history] == list(range(1, len(history) + 1)), "gaps"
    assert len({event["event_id"] for event in history}) == len(history), "stored twice"
    assert followed == history, "the follower saw something else"
    told = 0
    for record in records:
        for first_seq, last_version, data in record.acked:
            stored = history[first_seq - 1 : first_seq - 1 + len(data)]
            assert [event["data"] for event in stored] == [{"writer": record.number, "n": n} for n in data]
            assert stored[-1]["version"] == last_version
            assert {event["stream_id"] for event in stored} == {record.stream}
            told += len(data)
    assert told == len(history), "an event that nobody was told of, or one that is lost"
    for stream in {event["stream_id"] for event in history}:
        versions = [event["version"] for event in history if event["stream_id"] == stream]
        assert versions == list(range(1, len(versions) + 1)), stream


async def test_writers_and_followers_do_not_notice_a_move(tenant: UUID, breaker: Breaker) -> None:
    records = [Record(number) for number in range(4)]
    stop = asyncio.Event()
    followed: list[EventDocument] = []
    subscribed: list[int] = []

    # The operator's requests that are not repeatable go past the breaker.
    async with AsyncClient(breaker.url, token=TOKEN) as client, AsyncClient(URL, token=TOKEN) as operator:

        async def write(record: Record) -> None:
            while not stop.is_set():
                events, expected = record.next()
                done = await client.append(tenant, "order", record.stream, events, expected_version=expected)
                record.ack(events, done)

        async def follow() -> None:
            async with aclosing(client.follow(tenant)) as events:
                async for event in events:
                    followed.append(event)
                    if "last" in event["data"]:
                        return

        async def subscribe() -> None:
            while True:
                # Comes back again and again, from its checkpoint.
                async with aclosing(client.subscribe(tenant, "reader", keep_every=7)) as events:
                    seen = 0
                    async for event in events:
                        subscribed.append(event["seq"])
                        seen += 1
                        if "last" in event["data"]:
                            return
                        if seen == 50:
                            break

        async def goes_on() -> None:
            goals = [len(record.acked) + BETWEEN for record in records]
            while any(len(record.acked) < goal for record, goal in zip(records, goals, strict=True)):
                assert not any(task.done() for task in tasks), [task for task in tasks if task.done()]
                await asyncio.sleep(0.01)

        async def comes_to(migration: Migration, action: str) -> None:
            async with aclosing(client.watch_migration(migration["id"])) as seen:
                async for found in seen:
                    if action in found["allowed_actions"] and found["state"] == "dual_write":
                        return

        # One stream and the tenant are there before anybody follows.
        records[0].ack(*[(events := records[0].next()[0]), await client.append(tenant, "order", "of-0", events)])
        tasks = [asyncio.create_task(write(record)) for record in records]
        tasks += [asyncio.create_task(follow()), asyncio.create_task(subscribe())]
        try:
            await goes_on()
            there = await operator.start_migration(tenant, "dedicated", options=OPTIONS, reason="a test")
            await comes_to(there, "cutover")
            await goes_on()
            await operator.cut_over(there["id"])
            await client.wait_for_migration(there["id"])
            assert (await client.tenant(tenant))["store"] == "dedicated"
            await goes_on()
            back = await operator.return_tenant(there["id"], options={"cutover": "auto"}, reason="and back")
            await client.wait_for_migration(back["id"])
            assert (await client.tenant(tenant))["store"] == "shared"
            await goes_on()
        finally:
            stop.set()
        await asyncio.gather(*tasks[:4])
        events = [{"event_type": "Changed", "data": {"last": True}}]
        await client.append(tenant, "order", "end", events)
        await asyncio.wait_for(asyncio.gather(*tasks[4:]), 60)
        history = [event async for event in client.feed(tenant)]
        kept = await client.checkpoint(tenant, "reader")

    assert history.pop() == followed.pop()
    check(records, history, followed)
    # At least once, and in order each time: nothing is left out.
    assert set(subscribed) == set(range(1, len(history) + 2))
    assert all(later <= earlier + 1 for earlier, later in zip(subscribed, subscribed[1:], strict=False))
    # The last event was handed out, and nobody asked for the next one.
    assert kept <= len(history)
    assert breaker.broke > 10, "nothing was lost on the way, so nothing was tried"
    assert breaker.taken > breaker.broke


def test_the_synchronous_client_does_not_notice_a_move(tenant: UUID, breaker: Breaker) -> None:
    records = [Record(number) for number in range(4)]
    stop = threading.Event()
    failed: list[BaseException] = []
    followed: list[EventDocument] = []

    with Client(breaker.url, token=TOKEN) as client, Client(URL, token=TOKEN) as operator:

        def write(record: Record) -> None:
            while not stop.is_set():
                events, expected = record.next()
                done = client.append(tenant, "order", record.stream, events, expected_version=expected)
                record.ack(events, done)

        def follow() -> None:
            with closing(client.follow(tenant)) as events:
                for event in events:
                    followed.append(event)
                    if "last" in event["data"]:
                        return

        def watched(work: Any, *arguments: Any) -> threading.Thread:
            def run() -> None:
                try:
                    work(*arguments)
                except BaseException as error:
                    failed.append(error)

            thread = threading.Thread(target=run)
            thread.start()
            return thread

        def goes_on() -> None:
            goals = [len(record.acked) + BETWEEN for record in records]
            while any(len(record.acked) < goal for record, goal in zip(records, goals, strict=True)):
                assert not failed, failed
                stop.wait(0.01)

        records[0].ack(*[(events := records[0].next()[0]), client.append(tenant, "order", "of-0", events)])
        writers = [watched(write, record) for record in records]
        follower = watched(follow)
        try:
            goes_on()
            started = operator.start_migration(tenant, "dedicated", options={"cutover": "auto"})
            moved = client.wait_for_migration(started["id"])
            assert moved["state"] == "migrated"
            goes_on()
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        client.append(tenant, "order", "end", [{"event_type": "Changed", "data": {"last": True}}])
        follower.join(60)
        assert not follower.is_alive()
        assert not failed, failed
        history = list(client.feed(tenant))
        assert client.tenant(tenant)["store"] == "dedicated"

    assert history.pop() == followed.pop()
    check(records, history, followed)
    assert breaker.broke > 5
