"""Exceptions.

A server's refusal is a problem document (RFC 9457). Its `type` is stable and selects the class; `detail` is for
people. `NoAnswer` means that no server responded.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

TYPE_PREFIX = "urn:rehome:problem:"


class RehomeError(Exception):
    """All errors of this package."""


class NoAnswer(RehomeError):
    """No server responded within the retry time. Calls that are safe to repeat were repeated."""


class OutcomeUnknown(RehomeError):
    """The response to an action was lost; the action may have taken effect. Check the state before repeating it."""


class Problem(RehomeError):
    """A refusal. `code` names its type; the other attributes depend on the type."""

    #: Problem types (the last part of `type`) of this class.
    codes: ClassVar[tuple[str, ...]] = ()
    #: Statuses of this class, for types without a class.
    statuses: ClassVar[tuple[int, ...]] = ()

    def __init__(self, status: int, document: dict[str, Any], retry_after: float | None = None) -> None:
        self.status = status
        self.document = document
        self.type: str = str(document.get("type", "about:blank"))
        self.code: str = self.type.removeprefix(TYPE_PREFIX)
        self.title: str = str(document.get("title", ""))
        self.detail: str = str(document.get("detail", ""))
        self.request_id: str | None = document.get("request_id")
        self.tenant_id: str | None = document.get("tenant_id")
        self.migration_id: str | None = document.get("migration_id")
        self.state: str | None = document.get("state")
        self.limit: int | None = document.get("limit")
        #: Seconds to wait before repeating the call.
        self.retry_after = retry_after
        super().__init__(f"{self.code}: {self.detail}" if self.detail else f"status {status}")


class BadRequest(Problem):
    """The request is invalid."""

    statuses = (400, 405, 406, 408, 411, 414, 415, 422, 431)


class Unauthorized(Problem):
    """The token is missing, wrong, expired or revoked."""

    statuses = (401,)


class Forbidden(Problem):
    """The token's role or scope does not allow it."""

    statuses = (403,)


class NotFound(Problem):
    """There is no such tenant, migration, drain, store or token."""

    statuses = (404,)


class Conflict(Problem):
    """The current state does not allow it; `detail` names the next step."""

    statuses = (409,)


class VersionConflict(Conflict):
    """The stream is not at the expected version: read from `actual_version` and decide again."""

    codes = ("version_conflict",)

    @property
    def actual_version(self) -> int:
        """The stream's version; 0: it has no event."""
        return int(self.document["actual_version"])


class IdConflict(Conflict):
    """An event id is in use for another event, or only a part of the append is stored."""

    codes = ("id_conflict",)

    @property
    def event_id(self) -> str | None:
        """The first id in conflict."""
        return self.document.get("event_id")


class NotWrittenHere(Conflict):
    """The tenant's events are in a table of another library: append with that library."""

    codes = ("not_written_here",)


class PositionBeyondEnd(Conflict):
    """A position beyond the end of the history: the store has lost events, or the position is of another tenant."""

    codes = ("position_beyond_end",)

    @property
    def position(self) -> int:
        """The position in the request."""
        return int(self.document["position"])

    @property
    def end(self) -> int:
        """The last position of the history."""
        return int(self.document["end"])


class ViolationOpen(Conflict):
    """An open violation prevents the cutover; `repair_migration` repairs the copy."""

    codes = ("violation_open",)


class PreconditionFailed(Problem):
    """The migration has changed since the state in `if_match`."""

    statuses = (412,)


class TooLarge(Problem):
    """The request exceeds a limit of the server; `limit` has the maximum."""

    statuses = (413,)


class TooMany(Problem):
    """Too many requests at the same time, for longer than the retry time."""

    statuses = (429,)


class Unavailable(Problem):
    """The server is unavailable, for longer than the retry time."""

    statuses = (503,)


class WritesPaused(Unavailable):
    """The tenant's writes are paused by a cutover, for longer than the retry time."""

    codes = ("writes_paused",)


class ServerError(Problem):
    """An internal error of the server; its log has the `request_id`."""

    statuses = (500, 501, 502, 504)


def _all(of: type[Problem]) -> list[type[Problem]]:
    return [of, *(deeper for below in of.__subclasses__() for deeper in _all(below))]


_CLASSES = _all(Problem)
_BY_CODE = {code: kind for kind in _CLASSES for code in kind.codes}
_BY_STATUS = {status: kind for kind in _CLASSES for status in kind.statuses if not kind.codes}


def problem(status: int, body: str | bytes, retry_after: float | None = None) -> Problem:
    """The exception for a refusal, by its type, or else by its status."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        # The response is from a proxy.
        text = body.decode(errors="replace") if isinstance(body, bytes) else body
        document = {"detail": " ".join(text.split())[:200]}
    code = str(document.get("type", "")).removeprefix(TYPE_PREFIX)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status) or Problem
    return kind(status, document, retry_after)
