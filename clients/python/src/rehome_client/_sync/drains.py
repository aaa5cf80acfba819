# Made by clients/generate.py from _async/drains.py.
"""Calls for drains."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import Any, Literal
from uuid import uuid4

from .._core import Id, document, request
from ..models import (
    Drain,
    DrainPage,
    DrainPlan,
    DrainRequest,
    DrainSettings,
    DrainTarget,
    DrainTenant,
    DrainTenantPage,
    OptionsPatch,
)
from .transport import Transport

ONE = "/v1/drains/{drain}"
#: Final states.
OVER = ("cancelled", "finished")


class Drains(Transport):
    """Drains, which empty stores tenant by tenant."""

    def drains(
        self, *, open: bool | None = None, cursor: Id | None = None, limit: int | None = None
    ) -> DrainPage:
        """One page of the drains, newest first; `open`: only those that have not ended."""
        query = {"open": open, "cursor": cursor, "limit": limit}
        page: DrainPage = self._json(request("GET", "/v1/drains", query=query))
        return page

    def plan_drain(
        self,
        from_: Sequence[str],
        to: Sequence[str | DrainTarget],
        *,
        tenants: Sequence[Id] = (),
        exclude: Sequence[Id] = (),
        settings: DrainSettings | None = None,
        options: OptionsPatch | None = None,
    ) -> DrainPlan:
        """What a drain would do; changes nothing. `start_drain(plan=...)` starts exactly this plan."""
        body = asked(from_, to, tenants, exclude, settings, options)
        plan: DrainPlan = self._json(request("POST", "/v1/drains/plan", body=body))
        return plan

    def start_drain(
        self,
        from_: Sequence[str] = (),
        to: Sequence[str | DrainTarget] = (),
        *,
        plan: DrainPlan | None = None,
        tenants: Sequence[Id] = (),
        exclude: Sequence[Id] = (),
        settings: DrainSettings | None = None,
        options: OptionsPatch | None = None,
        reason: str | None = None,
        id: Id | None = None,
    ) -> Drain:
        """Starts a drain, from a plan or from the other arguments. A repeated `id` returns the same drain."""
        said = None if plan is not None else asked(from_, to, tenants, exclude, settings, options)
        body = document(id=id or uuid4(), request=said, plan=plan, reason=reason)
        started: Drain = self._json(request("POST", "/v1/drains", body=body))
        return started

    def drain(self, drain: Id) -> Drain:
        """Its progress, what needs an operator, and its result after its end."""
        found: Drain = self._json(request("GET", ONE, {"drain": drain}))
        return found

    def watch_drain(self, drain: Id, *, every: float = 1.0) -> Generator[Drain, None, None]:
        """Yields the drain now and after each change, until it ends. Polls at this interval in seconds."""
        before: Drain | None = None
        while True:
            found = self.drain(drain)
            if found != before:
                yield found
            if found["state"] in OVER:
                return
            before = found
            time.sleep(every)

    def drain_tenants(
        self,
        drain: Id,
        *,
        state: Literal["waiting", "again", "moving", "moved", "set_aside", "stays"] | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> DrainTenantPage:
        """One page of its tenants, in the order of the drain."""
        query = {"state": state, "after": after, "limit": limit}
        page: DrainTenantPage = self._json(request("GET", ONE + "/tenants", {"drain": drain}, query=query))
        return page

    def each_drain_tenant(self, drain: Id) -> Generator[DrainTenant, None, None]:
        """All of its tenants, in the order of the drain."""
        after: int | None = None
        while True:
            page = self.drain_tenants(drain, after=after)
            for tenant in page["tenants"]:
                yield tenant
            after = page.get("next_after")
            if after is None:
                return

    def pause_drain(self, drain: Id, *, reason: str | None = None) -> Drain:
        """Starts no further migrations; running ones continue."""
        return self._drain_act("POST", ONE + "/pause", drain, document(reason=reason))

    def resume_drain(self, drain: Id, *, reason: str | None = None) -> Drain:
        """Resumes a paused drain."""
        return self._drain_act("POST", ONE + "/resume", drain, document(reason=reason))

    def cancel_drain(self, drain: Id, *, reason: str | None = None) -> Drain:
        """Cancels it: running migrations are aborted; a cutover that has begun finishes first."""
        return self._drain_act("POST", ONE + "/cancel", drain, document(reason=reason))

    def retry_drain(self, drain: Id, *, tenants: Sequence[Id] = (), reason: str | None = None) -> Drain:
        """Retries tenants that the drain set aside: the named ones, or all of them."""
        return self._drain_act("POST", ONE + "/retry", drain, document(tenants=tenants, reason=reason))

    def tune_drain(
        self,
        drain: Id,
        *,
        to: Sequence[str | DrainTarget] | None = None,
        settings: DrainSettings | None = None,
        options: OptionsPatch | None = None,
        reason: str | None = None,
    ) -> Drain:
        """Changes its options."""
        targets = None if to is None else [target(one) for one in to]
        body = document(to=targets, settings=settings, options=options, reason=reason)
        return self._drain_act("PATCH", ONE + "/settings", drain, body)

    def _drain_act(self, method: str, template: str, drain: Id, body: Any) -> Drain:
        found: Drain = self._json(request(method, template, {"drain": drain}, body=body, repeatable=False))
        return found


def target(store: str | DrainTarget) -> DrainTarget:
    return {"store": store} if isinstance(store, str) else store


def asked(
    from_: Sequence[str],
    to: Sequence[str | DrainTarget],
    tenants: Sequence[Id],
    exclude: Sequence[Id],
    settings: DrainSettings | None,
    options: OptionsPatch | None,
) -> DrainRequest:
    body: DrainRequest = {
        "from": list(from_),
        "to": [target(one) for one in to],
        "tenants": [str(one) for one in tenants],
        "exclude": [str(one) for one in exclude],
    }
    if settings is not None:
        body["settings"] = settings
    if options is not None:
        body["options"] = options
    return body
