"""What both clients share, without I/O: requests, retry rules, server-sent events."""

from __future__ import annotations

import ipaddress
import json
import random
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

from .errors import NoAnswer, OutcomeUnknown, Problem, problem
from .models import NewEventDocument

Id = UUID | str
Token = str | Callable[[], str]
ExpectedVersion = int | Literal["any", "no_stream"]
Query = Mapping[str, object]

#: Seconds between attempts: the first wait, and the longest.
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
#: The server sends a keep-alive at least every 15 seconds.
SILENCE = 60.0
#: Refusals that mean that the request had no effect.
NOTHING_DONE = frozenset(
    {
        "access_unknown",
        "keys_unknown",
        "stopping",
        "too_many_answers",
        "too_many_appends",
        "too_many_followers",
        "too_many_requests",
        "unreachable",
        "writes_paused",
    }
)
#: Characters that paths and proxies leave unchanged.
PLAIN = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_~.-]*\Z")


@dataclass(frozen=True)
class Request:
    """One request; every attempt sends the same bytes."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    #: Whether the request is idempotent.
    repeatable: bool = True


def request(
    method: str,
    template: str,
    names: Mapping[str, Id] | None = None,
    *,
    query: Query | None = None,
    body: Any = None,
    headers: Mapping[str, str | None] | None = None,
    repeatable: bool = True,
) -> Request:
    """A request to a path of the API; `names` replace the parameters in braces."""
    path = template
    for name, value in (names or {}).items():
        path = path.replace("{" + name + "}", quote(str(value), safe=""))
    sent = {key: value for key, value in (headers or {}).items() if value is not None}
    encoded = None
    if body is not None:
        encoded = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        sent["Content-Type"] = "application/json"
    asked = {key: _word(value) for key, value in (query or {}).items() if value is not None}
    return Request(method, path, asked, encoded, sent, repeatable)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def document(**fields: Any) -> dict[str, Any]:
    """A body of the arguments that are not `None`."""
    return {key: _plain(value) for key, value in fields.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in value]
    return value


def goes_in_path(stream_type: str, stream_id: str) -> bool:
    """Whether paths and proxies leave both names unchanged."""
    return bool(PLAIN.match(stream_type) and PLAIN.match(stream_id))


def with_ids(events: Iterable[NewEventDocument]) -> list[NewEventDocument]:
    """The events with their ids. Ids are generated before the first attempt, which makes a retry safe."""
    identified = []
    for event in events:
        known = cast(NewEventDocument, dict(event))
        known["event_id"] = str(event.get("event_id") or uuid4())
        identified.append(known)
    return identified


class Attempts:
    """Decides whether to retry a call, and how it ends otherwise."""

    def __init__(self, request: Request, retry_for: float) -> None:
        self._request = request
        self._deadline = time.monotonic() + retry_for
        self._wait = FIRST_WAIT

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> float:
        """How long to wait after this response; raises its problem if there is no further attempt."""
        retry_after = _seconds(headers.get("Retry-After"))
        why = problem(status, body, retry_after)
        again = status in (429, 503) and (self._request.repeatable or why.code in NOTHING_DONE)
        if not again or not self._left(retry_after or 0):
            raise why
        return self._next(retry_after)

    def broke(self, error: Exception, sent: bool) -> float:
        """How long to wait after a connection broke; `sent`: the server may have received the request."""
        if sent and not self._request.repeatable:
            raise OutcomeUnknown(f"{self._request.method} {self._request.path}: its answer was lost") from error
        if not self._left(0):
            raise NoAnswer(f"{self._request.method} {self._request.path}: no answer ({error!r})") from error
        return self._next(None)

    def _left(self, wait: float) -> bool:
        return time.monotonic() + wait < self._deadline

    def _next(self, retry_after: float | None) -> float:
        # Spreads the retries of several clients.
        wait, self._wait = self._wait * random.uniform(0.5, 1.0), min(self._wait * 2, LONGEST_WAIT)
        return retry_after if retry_after is not None else wait


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Message:
    """A server-sent event; `event` defaults to `message`."""

    event: str
    id: str | None
    data: str

    def json(self) -> Any:
        return json.loads(self.data)

    def problem(self) -> Problem:
        said = self.json()
        return problem(int(said.get("status", 500)) if isinstance(said, dict) else 500, self.data)


class Messages:
    """Reads server-sent events.

    Lines end with a line feed, and with nothing else: an event's data may have the other characters that `str`
    takes for the end of a line.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._event, self._id, self._data = "message", cast("str | None", None), cast("list[str]", [])
        #: Seconds to wait before reconnecting, set by the server.
        self.retry = 1.0

    def read(self, piece: bytes) -> Iterator[Message | None]:
        """The messages that a piece completes; `None` is a keep-alive."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").decode()
            message = self._line(text)
            if message is not None or text.startswith(":"):
                yield message

    def _line(self, line: str) -> Message | None:
        if not line:
            message = Message(self._event, self._id, "\n".join(self._data)) if self._data else None
            self._event, self._data = "message", []
            return message
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id":
            self._id = value
        elif name == "retry" and value.isdigit():
            self.retry = int(value) / 1000
        return None


def check_base(base_url: str, token: Token | None, without_tls: bool) -> str:
    """The checked address; refuses to send a token unencrypted to another machine."""
    base = base_url.rstrip("/")
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{base_url!r} is no http:// or https:// address")
    if token is not None and parts.scheme == "http" and not without_tls and not _is_here(parts.hostname):
        raise ValueError(
            f"a token would be sent to {parts.hostname} in the clear: use https, or without_tls=True where the way is safe"
        )
    return base


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tls(ca_file: str | None, certificate: tuple[str, str] | None, context: ssl.SSLContext | None) -> ssl.SSLContext:
    """The TLS settings: trusted authorities (the system's, or those of `ca_file`) and the client's certificate."""
    if context is not None:
        if ca_file or certificate:
            raise ValueError("give ssl_context, or ca_file and certificate")
        return context
    made = ssl.create_default_context(cafile=ca_file)
    if certificate:
        made.load_cert_chain(*certificate)
    return made
