"""What the programs share whatever library they use: the journal, hashes of what was written, and their output."""

from __future__ import annotations

import hashlib
import json
import time
import unittest
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


def _canonical(value: Any) -> Any:
    """A JSON value whose numbers compare as PostgreSQL's jsonb compares them: 1e20 is 100000000000000000000."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    return {"number": format(Decimal(str(value)).normalize(), "E")}


def digest(fields: dict[str, Any]) -> str:
    """The hash of everything that a writer gives for an event."""
    text = json.dumps(_canonical(fields), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def microseconds(moment: datetime) -> int:
    """A moment without a time zone's spelling."""
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def sqlstate(error: BaseException | None) -> str | None:
    """The SQLSTATE of an error, however deep the driver's own is wrapped."""
    seen = 0
    while error is not None and seen < 6:
        for candidate in (error, getattr(error, "orig", None)):
            state = getattr(candidate, "sqlstate", None)
            if isinstance(state, str):
                return state
        error = error.__cause__ or getattr(error, "orig", None)
        seen += 1
    return None


class Journal:
    """What a writer was told: one JSON document a line, in the file before the writer goes on."""

    def __init__(self, path: str) -> None:
        # A line that a killed process left unfinished is ended, so that ours begins anew.
        self._file = open(path, "a+b")
        if self._file.tell() > 0:
            self._file.seek(-1, 2)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def write(self, kind: str, **fields: Any) -> None:
        """Appends a record; `flush` hands it to the kernel, where it survives the process."""
        record = {"kind": kind, **fields, "mono_ms": now_ms(), "wall_ms": int(time.time() * 1000)}
        self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        self._file.flush()


def now_ms() -> float:
    """The machine's monotonic clock, which all its processes share."""
    return round(time.monotonic() * 1000, 3)


def say(document: dict[str, Any]) -> None:
    """Prints a JSON document as one line, at once."""
    print(json.dumps(document, separators=(",", ":"), default=str), flush=True)


def short(error: BaseException) -> str:
    """The first line of an error: a library may add the statement and its parameters."""
    text = str(getattr(error, "orig", None) or error) or repr(error)
    return text.splitlines()[0][:300]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Count, median, 99th percentile and maximum."""
    ordered = sorted(values)
    if not ordered:
        return {"count": 0}
    at = lambda part: round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 3)  # noqa: E731
    return {"count": len(ordered), "p50": at(0.5), "p99": at(0.99), "max": round(ordered[-1], 3)}


def outcome(result: unittest.TestResult) -> dict[str, Any]:
    """How many passed, and what failed."""
    wrong = [*result.failures, *result.errors]
    failures = [{"test": str(test), "message": text[-500:]} for test, text in wrong]
    return {"ok": result.wasSuccessful(), "passed": result.testsRun - len(wrong), "failures": failures}
