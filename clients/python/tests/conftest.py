"""What the tests need: a server, and a way to it that loses answers.

Started by the target `clients` of the crate `rehome-tests`, which says where the servers are:

    REHOME_URL      a server with stores `shared` and `dedicated`, and tokens
    REHOME_OTHER    another server of the same deployment
    REHOME_TLS      a server with TLS
    REHOME_CA       the certificate of who vouches for it
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from rehome_client import AsyncClient, Client

URL = os.environ["REHOME_URL"]
OTHER = os.environ["REHOME_OTHER"]
TOKEN = os.environ["REHOME_TOKEN"]


class Breaker:
    """A way to two servers that breaks off: a connection in `every` loses what it is answered.

    What was sent has arrived then. It is seeded, and says how often it broke off.
    """

    def __init__(self, every: int, seed: int = 7) -> None:
        self._random = random.Random(seed)
        self._every = every
        self._servers = [(urlsplit(url).hostname, urlsplit(url).port) for url in (URL, OTHER)]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self._listener.getsockname()[1]
        self.broke = 0
        self.taken = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.taken += 1
            server = socket.create_connection(self._servers[self.taken % 2])
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        try:
            while piece := source.recv(65536):
                if answers and self._random.randrange(self._every) == 0:
                    self.broke += 1
                    break
                target.sendall(piece)
        except OSError:
            pass
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


@pytest.fixture
def breaker() -> Iterator[Breaker]:
    made = Breaker(every=25)
    yield made
    made.close()


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(URL, token=TOKEN) as made:
        yield made


@pytest.fixture
async def aclient() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(URL, token=TOKEN) as made:
        yield made
