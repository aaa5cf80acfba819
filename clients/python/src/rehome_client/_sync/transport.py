# Made by clients/generate.py from _async/transport.py.
"""Sends requests, retries where that is safe, and reads responses and streams."""

from __future__ import annotations

import time
import json
import ssl
from collections.abc import Generator
from types import TracebackType
from typing import Any, Self

import httpx

from .._core import FIRST_WAIT, SILENCE, Attempts, Message, Messages, Request, Token, check_base, tls
from .._version import __version__


class Transport:
    """A connection to the servers of a deployment; see the client for its arguments."""

    def __init__(
        self,
        base_url: str,
        *,
        token: Token | None = None,
        retry_for: float = 60.0,
        timeout: float = 60.0,
        ca_file: str | None = None,
        certificate: tuple[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        without_tls: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._base = check_base(base_url, token, without_tls)
        self._token = token
        self._retry_for = retry_for
        self._http = httpx.Client(
            verify=tls(ca_file, certificate, ssl_context),
            timeout=httpx.Timeout(timeout, connect=10.0),
            headers={"User-Agent": f"rehome-client-python/{__version__}"},
            limits=httpx.Limits(max_connections=None),
            transport=transport,
        )

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.close()

    def _json(self, request: Request) -> Any:
        """The document in the response."""
        return json.loads((self._answer(request)).content)

    def _answer(self, request: Request, retry_for: float | None = None) -> httpx.Response:
        attempts = Attempts(request, self._retry_for if retry_for is None else retry_for)
        while True:
            try:
                answer = self._http.send(self._made(request))
            except httpx.TransportError as error:
                wait = attempts.broke(error, sent=not isinstance(error, httpx.ConnectError))
            else:
                if answer.is_success:
                    return answer
                wait = attempts.refused(answer.status_code, answer.headers, answer.content)
            time.sleep(wait)

    def _messages(self, request: Request) -> Generator[Message | None, None, None]:
        """The server-sent events of one connection, until it ends; `None` is a keep-alive."""
        answer = self._opened(request)
        messages = Messages()
        try:
            for piece in answer.iter_bytes():
                for message in messages.read(piece):
                    yield message
        except httpx.TransportError:
            # The caller reconnects and continues from its position.
            messages.retry = FIRST_WAIT
        finally:
            answer.close()
        time.sleep(messages.retry)

    def _opened(self, request: Request) -> httpx.Response:
        attempts = Attempts(request, self._retry_for)
        while True:
            try:
                answer = self._http.send(self._made(request, timeout=SILENCE), stream=True)
                if answer.is_success:
                    return answer
                body = answer.read()
            except httpx.TransportError as error:
                wait = attempts.broke(error, sent=False)
            else:
                wait = attempts.refused(answer.status_code, answer.headers, body)
            time.sleep(wait)

    def _made(self, request: Request, timeout: float | None = None) -> httpx.Request:
        headers = dict(request.headers)
        token = self._token() if callable(self._token) else self._token
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        # The path is already encoded.
        url = httpx.URL(self._base + request.path, params=request.query or None)
        more: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        return self._http.build_request(request.method, url, content=request.body, headers=headers, **more)
