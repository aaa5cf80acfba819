"""Calls for migrations."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal
from uuid import uuid4

from .._core import Id, document, request
from ..errors import NoAnswer
from ..models import (
    Baseline,
    Checklist,
    Estimate,
    LogEntry,
    LogPage,
    Migration,
    MigrationPage,
    Options,
    OptionsPatch,
    Plan,
    Probe,
    Verification,
    Worker,
)
from .transport import Transport

Phase = Literal["before", "during", "cutover", "after"]
Until = Literal["migrated", "cut_over", "cleaned_up", "repaired", "nothing_left"]
ONE = "/v1/migrations/{migration}"


class Migrations(Transport):
    """Migrations. Each action takes a `reason` for the log, and `if_match`, the tag that `seen` returns."""

    async def migrations(
        self,
        *,
        state: str | None = None,
        tenant: Id | None = None,
        cursor: Id | None = None,
        limit: int | None = None,
    ) -> MigrationPage:
        """One page of the migrations, newest first; `next_cursor` leads to the next page."""
        query = {"state": state, "tenant": tenant, "cursor": cursor, "limit": limit}
        page: MigrationPage = await self._json(request("GET", "/v1/migrations", query=query))
        return page

    async def each_migration(
        self, *, state: str | None = None, tenant: Id | None = None
    ) -> AsyncGenerator[Migration, None]:
        """All migrations, newest first."""
        cursor: str | None = None
        while True:
            page = await self.migrations(state=state, tenant=tenant, cursor=cursor)
            for migration in page["migrations"]:
                yield migration
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    async def start_migration(
        self,
        tenant: Id,
        target_store: str,
        *,
        options: OptionsPatch | None = None,
        reason: str | None = None,
        key: str | None = None,
    ) -> Migration:
        """Starts a migration. A repeated `key` returns the same migration; by default the client generates a key."""
        body = document(tenant_id=tenant, target_store=target_store, options=options, reason=reason)
        headers = {"Idempotency-Key": key or str(uuid4())}
        started: Migration = await self._json(request("POST", "/v1/migrations", body=body, headers=headers))
        return started

    async def return_tenant(
        self,
        migration: Id,
        *,
        options: OptionsPatch | None = None,
        reason: str | None = None,
        key: str | None = None,
        if_match: str | None = None,
    ) -> Migration:
        """Starts a migration back to the source, within the rollback window; returns the new migration."""
        headers = {"Idempotency-Key": key or str(uuid4()), "If-Match": if_match}
        body = document(options=options, reason=reason)
        sent = request("POST", ONE + "/return", {"migration": migration}, body=body, headers=headers)
        started: Migration = await self._json(sent)
        return started

    async def migration(self, migration: Id) -> Migration:
        """Its state and progress."""
        found: Migration = await self._json(request("GET", ONE, {"migration": migration}))
        return found

    async def seen(self, migration: Id) -> tuple[Migration, str]:
        """Its state and progress, and the tag (`if_match`) that limits an action to this state."""
        answer = await self._answer(request("GET", ONE, {"migration": migration}))
        return answer.json(), answer.headers["ETag"]

    async def migration_log(self, migration: Id, *, after: int = 0) -> LogPage:
        """One page of its log: what happened, who requested it, and why."""
        sent = request("GET", ONE + "/log", {"migration": migration}, query={"after": after})
        page: LogPage = await self._json(sent)
        return page

    async def each_log_entry(self, migration: Id) -> AsyncGenerator[LogEntry, None]:
        """Its log so far."""
        after = 0
        while True:
            page = await self.migration_log(migration, after=after)
            if not page["entries"]:
                return
            for entry in page["entries"]:
                yield entry
            after = page["next_after"]

    async def migration_worker(self, migration: Id) -> Worker:
        """The process that runs it."""
        found: Worker = await self._json(request("GET", ONE + "/worker", {"migration": migration}))
        return found

    async def watch_migration(
        self, migration: Id, *, until: Until | None = None
    ) -> AsyncGenerator[Migration, None]:
        """Yields the migration now and after each change, until its end or the state `until`.

        With `until`, raises the problem if it ended otherwise.
        """
        while True:
            sent = request("GET", ONE + "/watch", {"migration": migration}, query={"until": until})
            async with aclosing(self._messages(sent)) as messages:
                async for message in messages:
                    if message is None:
                        continue
                    if message.event == "problem":
                        raise message.problem()
                    found: Migration = message.json()
                    yield found
                    if message.event == "end":
                        return

    async def wait_for_migration(self, migration: Id, until: Until = "migrated") -> Migration:
        """Waits for that state; raises the problem if it ended otherwise."""
        found: Migration | None = None
        async with aclosing(self.watch_migration(migration, until=until)) as seen:
            async for found in seen:
                pass
        if found is None:
            raise NoAnswer(f"nothing was seen of migration {migration}")
        return found

    async def pause_migration(
        self, migration: Id, *, reason: str | None = None, if_match: str | None = None
    ) -> Migration:
        """Pauses it; the tenant's writes continue at the source."""
        return await self._act("POST", ONE + "/pause", migration, if_match, reason=reason)

    async def resume_migration(
        self,
        migration: Id,
        *,
        keep_window: bool | None = None,
        reason: str | None = None,
        if_match: str | None = None,
    ) -> Migration:
        """Resumes one that is paused, or that no process runs."""
        return await self._act(
            "POST", ONE + "/resume", migration, if_match, keep_window=keep_window, reason=reason
        )

    async def cut_over(self, migration: Id, *, reason: str | None = None, if_match: str | None = None) -> Migration:
        """Requests the cutover; `wait_for_migration(id, "cut_over")` waits for it."""
        return await self._act("POST", ONE + "/cutover", migration, if_match, reason=reason)

    async def withdraw_cutover(
        self, migration: Id, *, reason: str | None = None, if_match: str | None = None
    ) -> Migration:
        """Withdraws the cutover before it begins; none begins until one is requested again."""
        return await self._act("POST", ONE + "/withdraw", migration, if_match, reason=reason)

    async def abort_migration(
        self,
        migration: Id,
        *,
        purge_target: bool | None = None,
        reason: str | None = None,
        if_match: str | None = None,
    ) -> Migration:
        """Aborts it before its cutover; the tenant stays at the source."""
        return await self._act(
            "POST", ONE + "/abort", migration, if_match, purge_target=purge_target, reason=reason
        )

    async def repair_migration(
        self, migration: Id, *, reason: str | None = None, if_match: str | None = None
    ) -> Migration:
        """Repairs the copy: truncates it to before the damage, copies the rest again and verifies it."""
        return await self._act("POST", ONE + "/repair", migration, if_match, reason=reason)

    async def acknowledge_migration(
        self, migration: Id, *, reason: str | None = None, if_match: str | None = None
    ) -> Migration:
        """Acknowledges its failure."""
        return await self._act("POST", ONE + "/acknowledge", migration, if_match, reason=reason)

    async def _act(self, method: str, template: str, migration: Id, if_match: str | None, **said: Any) -> Migration:
        headers = {"If-Match": if_match}
        names = {"migration": migration}
        sent = request(method, template, names, body=document(**said), headers=headers, repeatable=False)
        found: Migration = await self._json(sent)
        return found

    async def migration_options(self, migration: Id) -> Options:
        """Its options."""
        found: Options = await self._json(request("GET", ONE + "/options", {"migration": migration}))
        return found

    async def tune_migration(
        self, migration: Id, options: OptionsPatch, *, reason: str | None = None, if_match: str | None = None
    ) -> Options:
        """Changes options while it runs; returns all options."""
        body = {**options, **document(reason=reason)}
        headers = {"If-Match": if_match}
        # Repeating it has no effect; with `if_match` the second request is refused.
        repeatable = if_match is None
        sent = request(
            "PATCH", ONE + "/options", {"migration": migration}, body=body, headers=headers, repeatable=repeatable
        )
        tuned: Options = await self._json(sent)
        return tuned

    async def verify_migration(
        self,
        migration: Id,
        *,
        level: Literal["count", "hash", "full"] | None = None,
        sample: float | None = None,
        after_seq: int | None = None,
        rate_max: int | None = None,
        reason: str | None = None,
    ) -> Verification:
        """Compares both stores, and waits for the result."""
        body = document(level=level, sample=sample, after_seq=after_seq, rate_max=rate_max, reason=reason)
        found: Verification = await self._until_done(ONE + "/verify", migration, body)
        return found

    async def baseline(self, migration: Id) -> Baseline:
        """The stored baseline of the tenant from before the migration."""
        found: Baseline = await self._json(request("GET", ONE + "/baseline", {"migration": migration}))
        return found

    async def take_baseline(self, migration: Id, *, window: str | None = None) -> Baseline:
        """Measures a baseline of the tenant and stores it."""
        taken: Baseline = await self._until_done(ONE + "/baseline", migration, document(window=window))
        return taken

    async def _until_done(self, template: str, migration: Id, body: Any) -> Any:
        # With a key, a repeated call waits for the first one and returns its result.
        headers = {"Idempotency-Key": str(uuid4())}
        sent = request("POST", template, {"migration": migration}, body=body, headers=headers)
        while True:
            answer = await self._answer(sent)
            if answer.status_code != 202:
                return answer.json()

    async def checklist(self, migration: Id, phase: Phase) -> Checklist:
        """The checklist of the guide for the current phase, with current values."""
        names = {"migration": migration, "phase": phase}
        found: Checklist = await self._json(request("GET", ONE + "/checklists/{phase}", names))
        return found

    async def checklist_before(self) -> Checklist:
        """The checklist before a migration."""
        found: Checklist = await self._json(request("GET", "/v1/checklists/{phase}", {"phase": "before"}))
        return found

    async def plan(self, tenant: Id, target_store: str) -> Plan:
        """What a migration would do; changes nothing."""
        body = document(tenant_id=tenant, target_store=target_store)
        found: Plan = await self._json(request("POST", "/v1/plans", body=body))
        return found

    async def estimate(
        self,
        total_events: int,
        *,
        copy_rate_per_second: float | None = None,
        dual_write_lag_events: int | None = None,
        cutover_pause_seconds: float | None = None,
        buffer_factor: float | None = None,
        write_rate_per_second: float | None = None,
    ) -> Estimate:
        """Estimates the duration of a migration from given numbers."""
        body = document(
            total_events=total_events,
            copy_rate_per_second=copy_rate_per_second,
            dual_write_lag_events=dual_write_lag_events,
            cutover_pause_seconds=cutover_pause_seconds,
            buffer_factor=buffer_factor,
            write_rate_per_second=write_rate_per_second,
        )
        found: Estimate = await self._json(request("POST", "/v1/estimates", body=body))
        return found

    async def probe(
        self,
        tenant: Id,
        target_store: str,
        *,
        copy_rate_per_second: float | None = None,
        dual_write_lag_events: int | None = None,
        cutover_pause_seconds: float | None = None,
        buffer_factor: float | None = None,
        write_rate_per_second: float | None = None,
    ) -> Probe:
        """Estimates the duration of a migration from the tenant's data."""
        body = document(
            tenant_id=tenant,
            target_store=target_store,
            copy_rate_per_second=copy_rate_per_second,
            dual_write_lag_events=dual_write_lag_events,
            cutover_pause_seconds=cutover_pause_seconds,
            buffer_factor=buffer_factor,
            write_rate_per_second=write_rate_per_second,
        )
        found: Probe = await self._json(request("POST", "/v1/probes", body=body))
        return found
