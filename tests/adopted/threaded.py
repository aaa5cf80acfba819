"""A library that blocks and has no router: it works in threads, and a table says where each tenant is.

This is what an application writes for itself. The switch is published to that table by `kind = "sql"`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from psycopg_pool import ConnectionPool

from library import Found, Work

TABLE = "CREATE TABLE tenant_stores (tenant text PRIMARY KEY, store text NOT NULL, epoch bigint NOT NULL)"


class Routes:
    """Asks at each operation, so that no process goes on with an old answer."""

    def __init__(self, dsn: str, default: str, pool: int) -> None:
        self.default = default
        self.pool = ConnectionPool(dsn, min_size=1, max_size=pool, kwargs={"autocommit": True}, open=True)

    def store_of(self, tenant: str) -> str:
        """The name of the tenant's store."""
        with self.pool.connection() as connection:
            row = connection.execute("SELECT store FROM tenant_stores WHERE tenant = %s", (tenant,)).fetchone()
        return str(row[0]) if row else self.default


class Threaded:
    """A `Library` over what blocks."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.dsns: dict[str, str] = dict(pair.split("=", 1) for pair in args.store)
        self.routes = Routes(args.routing, next(iter(self.dsns)), args.writers)
        self.threads = ThreadPoolExecutor(args.writers + 2)

    def load_now(self, tenant: str, name: str, dice: Random, batch: int) -> Work | None:
        raise NotImplementedError

    def append_now(self, work: Work) -> Found:
        raise NotImplementedError

    def find_now(self, work: Work) -> Found:
        raise NotImplementedError

    def close_now(self) -> None:
        raise NotImplementedError

    async def _do(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    async def load(self, tenant: str, name: str, dice: Random, writer: str, batch: int) -> Work | None:
        """As `Library`."""
        return await self._do(lambda: self.load_now(tenant, name, dice, batch))

    async def append(self, work: Work) -> Found:
        """As `Library`."""
        return await self._do(lambda: self.append_now(work))

    async def find(self, work: Work) -> Found:
        """As `Library`."""
        return await self._do(lambda: self.find_now(work))

    async def close(self) -> None:
        """As `Library`."""
        self.close_now()
        self.routes.pool.close()
