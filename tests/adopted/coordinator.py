"""The library's own migration coordinator moves the tenant while two processes write, for a benchmark beside ours.

This process has the coordinator and the first writers, on one router, as the library's documentation has it; the
second writers are another process, with a router of its own over the same routing table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsource import PostgreSQLEventStore
from eventsource.adapters.postgresql.locks import PostgreSQLLockManager
from eventsource.adapters.sql.migration import PostgreSQLMigrationRepository, PostgreSQLPositionMappingRepository
from eventsource.application.migration import MigrationConfig, MigrationCoordinator, PositionMapper
from eventsource.ports.migration.models import MigrationPhase
from sqlalchemy.ext.asyncio import async_sessionmaker

from checker import check, read_journals, rows_of
from eventsource_py import Stores
from journal import now_ms, say, spread
from tables import TABLES
from writers import Run, Writer, arguments


class Timed:
    """A store that notes how long each append took; the dual write appends to both."""

    def __init__(self, store: PostgreSQLEventStore) -> None:
        self._store = store
        self.appends: list[tuple[float, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, *arguments: Any) -> Any:
        started = now_ms()
        try:
            return await self._store.append(*arguments)
        finally:
            self.appends.append((started, now_ms() - started))


def second_process(args: argparse.Namespace) -> list[str]:
    """The command of the other writers: the same arguments, and a seed and a journal of their own."""
    command = [sys.executable, str(Path(__file__).with_name("writers.py"))]
    command += ["--routing", args.routing, "--tenant", args.tenant, "--journal", args.other_journal]
    command += ["--seed", f"{args.seed}-second", "--writers", str(args.writers)]
    for store in args.store:
        command += ["--store", store]
    for bystander in args.bystander:
        command += ["--bystander", bystander]
    for name in ("moving_share", "batch", "hot", "hot_share", "think_ms", "cache_ttl", "timeout"):
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    return command


async def cut_over(coordinator: MigrationCoordinator, migration_id: Any, seconds: float) -> dict[str, Any]:
    """Triggers the cutover until it succeeds; after a refusal it resyncs first, as its documentation advises."""
    deadline = time.monotonic() + seconds
    pauses: list[float] = []
    resyncs = 0
    while True:
        result = await coordinator.trigger_cutover(migration_id)
        if result.success or time.monotonic() > deadline:
            return {
                "success": result.success,
                "pause_ms": round(result.duration_ms, 3),
                "refused_cutovers": len(pauses),
                "refused_pauses_ms": spread(pauses),
                "resyncs": resyncs,
                "error": result.error_message,
            }
        pauses.append(result.duration_ms)
        # A lag of a few events is the writers'; one that stays wants a copy pass.
        if len(pauses) % 10 == 0:
            await coordinator.run_resync_pass(migration_id)
            resyncs += 1
        await asyncio.sleep(0.02)


async def move(args: argparse.Namespace, stores: Stores, run: Run) -> dict[str, Any]:
    """Writes for a while, moves the tenant, and writes for a while again."""
    names = list(stores.stores)
    timed = {name: Timed(store) for name, store in stores.stores.items()}
    for name, store in timed.items():
        stores.router.register_store(name, store)
    sessions = async_sessionmaker(stores.routing_engine, expire_on_commit=False)
    mapper = PositionMapper(PostgreSQLPositionMappingRepository(stores.routing_engine)) if args.map_positions else None
    coordinator = MigrationCoordinator(
        timed[names[0]], PostgreSQLMigrationRepository(stores.routing_engine), stores.routing, stores.router,
        source_store_id=names[0], lock_manager=PostgreSQLLockManager(sessions), position_mapper=mapper,
    )  # fmt: skip
    config = MigrationConfig(
        batch_size=args.copy_batch, max_bulk_copy_rate=10_000_000, verify_consistency=False,
        position_mapping_enabled=args.map_positions, cutover_timeout_ms=args.cutover_timeout_ms,
        cutover_max_lag_events=args.max_lag,
    )  # fmt: skip
    await asyncio.sleep(args.before)
    started = now_ms()
    migration = await coordinator.start_migration(UUID(args.tenant), timed[names[1]], names[1], config)
    phase = MigrationPhase.DUAL_WRITE
    try:
        reached = await coordinator.wait_for_phase(migration.id, phase, timeout=args.deadline, poll_interval=0.1)
    except TimeoutError as error:
        # Its catch-up rounds do not always catch up with writers that do not rest.
        status = await coordinator.abort_migration(migration.id, "the deadline passed")
        return {"success": False, "error": str(error), "copied_events": status.events_migrated}
    copied = now_ms()
    document: dict[str, Any] = {
        "phase_after_copy": reached.phase.value,
        "copied_events": reached.events_copied,
        "copy_seconds": round((copied - started) / 1000, 3),
        "copy_events_per_second": round(reached.events_copied / max(copied - started, 1) * 1000, 1),
    }
    if reached.phase is not phase:
        return {**document, "success": False, "error": reached.last_error}
    await asyncio.sleep(args.dual)
    document |= await cut_over(coordinator, migration.id, args.deadline)
    switched = now_ms()
    both = [took for at, took in timed[names[1]].appends if copied <= at < switched]
    before = [took for at, took in timed[names[0]].appends if at < started]
    document["target_append_ms"] = spread(both)
    document["source_append_ms_before"] = spread(before)
    await asyncio.sleep(args.after)
    acks = run.acks.get(args.tenant, [])
    waits = run.waits.get(args.tenant, [])
    phases = {"before": (0.0, started), "copy": (started, copied), "dual": (copied, switched)}
    phases["after"] = (switched, now_ms())
    document["wait_ms"] = {
        name: spread([wait for at, wait in zip(acks, waits, strict=True) if low <= at < high])
        for name, (low, high) in phases.items()
    }
    return document


async def main() -> int:
    logging.basicConfig(level=logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    parser.add_argument("--other-journal", required=True, metavar="FILE", help="of the second process")
    parser.add_argument("--before", type=float, default=3.0, help="seconds of writing before the move")
    parser.add_argument("--dual", type=float, default=2.0, help="seconds of dual writing before the cutover")
    parser.add_argument("--after", type=float, default=3.0, help="seconds of writing after it")
    parser.add_argument("--deadline", type=float, default=60.0, help="seconds for the copy, and for the cutover")
    parser.add_argument("--copy-batch", type=int, default=1000)
    parser.add_argument("--cutover-timeout-ms", type=int, default=500)
    parser.add_argument("--max-lag", type=int, default=0, help="more than 0 accepts, in its words, that bounded loss")
    parser.add_argument("--map-positions", action="store_true", help="record positions: it then copies one by one")
    parser.add_argument("--alone", action="store_true", help="no second process")
    args = parser.parse_args()
    if len(args.store) != 2:
        parser.error("two stores: the source and the target")
    stores = Stores(args)
    run = Run(args, stores)
    await stores.routing.get_or_default(UUID(args.tenant), next(iter(stores.stores)))
    other = None
    if not args.alone:
        other = await asyncio.create_subprocess_exec(*second_process(args), stdout=asyncio.subprocess.PIPE)
    try:
        writers = [asyncio.create_task(Writer(run, number).work()) for number in range(args.writers)]
        try:
            document = await move(args, stores, run)
        finally:
            run.stop.set()
            await asyncio.gather(*writers)
    finally:
        summary: dict[str, Any] = {}
        if other is not None:
            other.terminate()
            output, _ = await other.communicate()
            lines = output.decode().splitlines()
            summary = json.loads(lines[-1]) if lines else {}
        await stores.close()
    authority, rest = (1, 0) if document["success"] else (0, 1)
    dsns = [store.split("=", 1)[1] for store in args.store]
    rows = await rows_of(dsns[authority], args.tenant, TABLES["eventsource-py"])
    others = await rows_of(dsns[rest], args.tenant, TABLES["eventsource-py"])
    paths = [args.journal] + ([] if args.alone else [args.other_journal])
    journals = read_journals({path: Path(path).stat().st_size for path in paths}, args.tenant)
    document |= {"first": run.summary(), "second": summary}
    document |= {"checker": check(journals, rows, others), "acked_lost": check(journals, rows, None)["lost"]}
    say(document)
    return 0 if document["success"] else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
