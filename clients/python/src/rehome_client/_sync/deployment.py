# Made by clients/generate.py from _async/deployment.py.
"""Stores, tenants, tokens, and the state of the deployment."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any

from .._core import Id, document, request
from ..errors import Unavailable
from ..models import (
    MovedCheckpoints,
    Notice,
    Recovery,
    StoreCheckReport,
    Tenant,
    TenantPage,
    TenantPurge,
    TenantRemoval,
    TenantRow,
    TenantUnguarded,
    TranslatedPosition,
)
from ..models import Token as TokenDocument
from ..models import Tokens
from .transport import Transport

TENANT = "/v1/tenants/{tenant}"
STORE = "/v1/stores/{store}"


class Deployment(Transport):
    """Calls for the operators of a deployment."""

    def is_live(self) -> bool:
        """Whether the server is up."""
        return (self._answer(request("GET", "/health/live"))).is_success

    def is_ready(self) -> bool:
        """Whether the server can answer applications now."""
        try:
            return (self._answer(request("GET", "/health/ready"), retry_for=0)).is_success
        except Unavailable:
            return False

    def migration_health(self) -> dict[str, Any]:
        """The health of the deployment's migrations."""
        found: dict[str, Any] = self._json(request("GET", "/health/migration"))
        return found

    def metrics(self) -> str:
        """The metrics, in the Prometheus text format."""
        return (self._answer(request("GET", "/metrics"))).text

    def openapi(self) -> dict[str, Any]:
        """The description of the API."""
        found: dict[str, Any] = self._json(request("GET", "/openapi.json"))
        return found

    def stores(self) -> StoreCheckReport:
        """All stores, with their current state."""
        found: StoreCheckReport = self._json(request("GET", "/v1/stores"))
        return found

    def store(self, store: str) -> StoreCheckReport:
        """One store, with its current state."""
        found: StoreCheckReport = self._json(request("GET", STORE, {"store": store}))
        return found

    def cordon(self, store: str, *, reason: str | None = None) -> Notice:
        """Cordons a store: it takes no new tenants and no migrations."""
        return self._noticed(STORE + "/cordon", {"store": store}, reason)

    def uncordon(self, store: str, *, reason: str | None = None) -> Notice:
        """Uncordons a store."""
        return self._noticed(STORE + "/uncordon", {"store": store}, reason)

    def tenant(self, tenant: Id) -> Tenant:
        """The store and the state of a tenant."""
        found: Tenant = self._json(request("GET", TENANT, {"tenant": tenant}))
        return found

    def tenants(
        self,
        *,
        store: str | None = None,
        search: str | None = None,
        pinned: bool | None = None,
        cursor: Id | None = None,
        limit: int | None = None,
    ) -> TenantPage:
        """One page of the tenants, ordered by id; a page with fewer than `limit` items is not always the last one."""
        query = {"store": store, "search": search, "pinned": pinned, "cursor": cursor, "limit": limit}
        page: TenantPage = self._json(request("GET", "/v1/tenants", query=query))
        return page

    def each_tenant(
        self, *, store: str | None = None, search: str | None = None, pinned: bool | None = None
    ) -> Generator[TenantRow, None, None]:
        """All tenants, ordered by id."""
        cursor: str | None = None
        while True:
            page = self.tenants(store=store, search=search, pinned=pinned, cursor=cursor)
            for tenant in page["tenants"]:
                yield tenant
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def pin(self, tenant: Id, *, reason: str | None = None) -> Notice:
        """Pins a tenant: drains do not move it."""
        return self._noticed(TENANT + "/pin", {"tenant": tenant}, reason)

    def unpin(self, tenant: Id, *, reason: str | None = None) -> Notice:
        """Unpins a tenant."""
        return self._noticed(TENANT + "/unpin", {"tenant": tenant}, reason)

    def _noticed(self, template: str, names: dict[str, Id], reason: str | None) -> Notice:
        # The second identical request has no effect.
        found: Notice = self._json(request("POST", template, names, body=document(reason=reason)))
        return found

    def purge(
        self, tenant: Id, store: str, *, close_window: bool | None = None, reason: str | None = None
    ) -> TenantPurge:
        """Deletes the copy that a migration left behind in a store. Irreversible."""
        body = document(store=store, close_window=close_window, reason=reason)
        sent = request("POST", TENANT + "/purge", {"tenant": tenant}, body=body, repeatable=False)
        found: TenantPurge = self._json(sent)
        return found

    def remove_tenant(
        self, tenant: Id, *, events: int | None = None, reason: str | None = None
    ) -> TenantRemoval:
        """Removes a tenant that has so many events. Without a number, counts them and changes nothing. Irreversible."""
        body = document(events=events, reason=reason)
        sent = request("POST", TENANT + "/remove", {"tenant": tenant}, body=body, repeatable=False)
        found: TenantRemoval = self._json(sent)
        return found

    def unguard(self, tenant: Id, *, reason: str | None = None) -> TenantUnguarded:
        """Removes the guard of a tenant whose events are in a table of another library."""
        body = document(reason=reason)
        sent = request("POST", TENANT + "/unguard", {"tenant": tenant}, body=body, repeatable=False)
        found: TenantUnguarded = self._json(sent)
        return found

    def translate_position(self, tenant: Id, position: int, *, from_: str, to: str) -> TranslatedPosition:
        """Translates a position of one store's table into a position of another store's table."""
        query = {"position": position, "from": from_, "to": to}
        found: TranslatedPosition = self._json(
            request("GET", TENANT + "/position", {"tenant": tenant}, query=query)
        )
        return found

    def move_checkpoints(
        self, tenant: Id, *, from_: str, to: str, reason: str | None = None
    ) -> MovedCheckpoints:
        """Copies the tenant's checkpoints from one store's table to another's."""
        body = document(**{"from": from_, "to": to}, reason=reason)
        sent = request("POST", TENANT + "/checkpoints", {"tenant": tenant}, body=body, repeatable=False)
        found: MovedCheckpoints = self._json(sent)
        return found

    def recover(
        self,
        *,
        tenant: Id | None = None,
        store: str | None = None,
        apply: bool | None = None,
        reason: str | None = None,
    ) -> list[Recovery]:
        """Compares a restored control plane with the stores; `apply` brings it up to date."""
        body = document(tenant_id=tenant, store=store, apply=apply, reason=reason)
        sent = request("POST", "/v1/recoveries", body=body, repeatable=not apply)
        found: list[Recovery] = self._json(sent)
        return found

    def tokens(self) -> Tokens:
        """All tokens, without their secrets."""
        found: Tokens = self._json(request("GET", "/v1/tokens"))
        return found

    def create_token(
        self,
        name: str,
        role: str,
        *,
        tenants: Sequence[Id] = (),
        stores: Sequence[str] = (),
        expires_in: str | None = None,
        reason: str | None = None,
    ) -> tuple[str, TokenDocument]:
        """Creates a token: returns its secret, which the client generates and never sends, and the stored token."""
        secret = f"rehome_{token_urlsafe(32)}"
        body = document(
            name=name,
            role=role,
            tenants=tenants,
            stores=stores,
            expires_in=expires_in,
            sha256=sha256(secret.encode()).hexdigest(),
            reason=reason,
        )
        kept: TokenDocument = self._json(request("POST", "/v1/tokens", body=body))
        return secret, kept

    def rotate_token(
        self,
        name: str,
        *,
        keep_old_for: str | None = None,
        expires_in: str | None = None,
        reason: str | None = None,
    ) -> tuple[str, TokenDocument]:
        """Replaces a token's secret: returns the new secret, and the token as the server stores it."""
        secret = f"rehome_{token_urlsafe(32)}"
        body = document(
            sha256=sha256(secret.encode()).hexdigest(),
            keep_old_for=keep_old_for,
            expires_in=expires_in,
            reason=reason,
        )
        kept: TokenDocument = self._json(request("POST", "/v1/tokens/{name}/rotate", {"name": name}, body=body))
        return secret, kept

    def revoke_token(self, name: str, *, reason: str | None = None) -> list[TokenDocument]:
        """Revokes a token and ends its sessions and feeds."""
        body = document(reason=reason)
        found: list[TokenDocument] = self._json(
            request("POST", "/v1/tokens/{name}/revoke", {"name": name}, body=body)
        )
        return found
