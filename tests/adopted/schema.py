"""Makes the library's own tables in a database, by the library's own means, and prints what it made."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

import asyncpg
from eventsource import __version__
from eventsource.migrations import get_schema

from journal import say

# A store has `all` and `snapshots`. (The library's `checkpoints` and `dlq` alone do not run on PostgreSQL: their
# helpers say GET DIAGNOSTICS ... = FOUND. `all` has the same tables without those helpers.)
STORE = ["all", "snapshots"]
#: What the router and the coordinator read.
ROUTING = ["migration"]

# Everything in the schema that is not an extension's: what a guard may find there.
WHAT = {
    "columns": """
        SELECT c.relname AS "table", a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
               a.attnotnull AS not_null, pg_get_expr(d.adbin, d.adrelid) AS "default"
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p')
          AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY c.relname, a.attnum""",
    "indexes": """
        SELECT tablename AS "table", indexname AS name, indexdef AS definition
        FROM pg_indexes WHERE schemaname = $1::text ORDER BY 1, 2""",
    "constraints": """
        SELECT conrelid::regclass::text AS "table", conname AS name, pg_get_constraintdef(oid) AS definition
        FROM pg_constraint WHERE connamespace = $1::regnamespace AND conrelid <> 0 ORDER BY 1, 2""",
    "partitions": """
        SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bound
        FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relispartition AND c.relkind = 'r'
        ORDER BY 1""",
    "triggers": """
        SELECT tgrelid::regclass::text AS "table", tgname AS name, pg_get_triggerdef(t.oid) AS definition
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = $1::regnamespace AND NOT tgisinternal ORDER BY 1, 2""",
    "functions": """
        SELECT oid::regprocedure::text AS name FROM pg_proc
        WHERE pronamespace = $1::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = pg_proc.oid AND d.deptype = 'e')
        ORDER BY 1""",
    "views": """
        SELECT viewname AS name FROM pg_views WHERE schemaname = $1::text ORDER BY 1""",
    "sequences": """
        SELECT sequencename AS name, cache_size FROM pg_sequences WHERE schemaname = $1::text ORDER BY 1""",
}


async def make(connection: asyncpg.Connection, names: list[str]) -> None:
    """Runs the library's schemas; asyncpg's `execute` takes a script of several statements."""
    for name in names:
        await connection.execute(get_schema(name))  # type: ignore[arg-type]


async def describe(connection: asyncpg.Connection, schema: str) -> dict[str, Any]:
    """What is in the schema now."""
    return {kind: [dict(row) for row in await connection.fetch(sql, schema)] for kind, sql in WHAT.items()}


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn")
    parser.add_argument("--partitioned", action="store_true", help="the events table in partitions by time")
    parser.add_argument("--months", metavar="YEAR", type=int, help="its twelve partitions of a year too")
    parser.add_argument("--routing", action="store_true", help="also what the router and the coordinator read")
    parser.add_argument("--only-routing", action="store_true", help="nothing but that")
    parser.add_argument("--schema", default="public", help="the schema; it is made if there is none")
    args = parser.parse_args()

    names = [] if args.only_routing else STORE
    if args.partitioned:
        # Before the others: `all` then finds a table of the name and makes none.
        names = ["events_partitioned", *names]
    names = [*names, *ROUTING] if args.routing or args.only_routing else names
    connection = await asyncpg.connect(args.dsn)
    try:
        quoted = await connection.fetchval("SELECT quote_ident($1)", args.schema)
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted}; SET search_path = {quoted}")
        # The notices of IF NOT EXISTS say nothing here.
        await connection.execute("SET client_min_messages = warning")
        await make(connection, names)
        if args.months:
            await connection.execute("SELECT create_events_partitions_for_year($1)", args.months)
        made = await describe(connection, args.schema)
        say({"library": __version__, "schemas": names, **made})
    finally:
        await connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
