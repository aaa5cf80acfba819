"""What is done to one store by the library that writes it: makes its tables, reads them, runs the library's own tests."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from typing import Any

import psycopg

from journal import say
from library import LIBRARIES
from threaded import TABLE


def make_routing(dsn: str) -> dict[str, Any]:
    """Makes the table that says where tenants are."""
    with psycopg.connect(dsn) as connection:
        connection.execute(TABLE)
    return {"made": "tenant_stores"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=[name for name in LIBRARIES if name != "eventsource-py"])
    parser.add_argument("what", choices=["make", "routing", "fold", "suite"])
    parser.add_argument("dsn")
    parser.add_argument("--tenant", help="whose events are read, or written by the tests")
    args = parser.parse_args()
    library = importlib.import_module(LIBRARIES[args.library])
    document: dict[str, Any] = {"library": args.library}
    # A library's tests may print.
    with contextlib.redirect_stdout(sys.stderr):
        if args.what == "make":
            library.make(args.dsn)
        elif args.what == "routing":
            document |= make_routing(args.dsn)
        elif args.what == "fold":
            document |= library.fold(args.dsn, args.tenant)
        else:
            suite = importlib.import_module(f"{LIBRARIES[args.library]}_suite")
            document |= suite.run(args.dsn, args.tenant)
    say(document)
    return 0 if document.get("agree", True) and document.get("ok", True) else 1


if __name__ == "__main__":
    sys.exit(main())
