"""Measure all networks, or those named, each in a process of its own, and write the table.

    python -m benchmarks.sweep [--again] [--rows FILE] [--share 0.3] [--seconds 600] [--memory 16000] [NAME …]

Rows are written as they come, and networks that have one are left out, so that an interrupted sweep goes on where it
was; those that failed are tried again. `--again` measures the others again too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.sweep.networks import cases
from benchmarks.sweep.processes import run
from benchmarks.sweep.table import code, machine, read_rows, written

ROWS = Path(__file__).with_name("coverage.jsonl")
TABLE = Path(__file__).parents[2] / "docs" / "coverage.md"


def main() -> None:
    """Measure what has no row yet, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--again", action="store_true", help="also those that have a row")
    parser.add_argument("--rows", type=Path, default=ROWS, help="JSON lines")
    parser.add_argument("--share", type=float, default=0.3, help="of the units of every group")
    parser.add_argument("--seconds", type=float, default=600, help="before a network is given up")
    parser.add_argument("--memory", type=int, default=16000, help="MB of a process before it is given up")
    options = parser.parse_args()
    wanted = [case for case in cases() if not options.networks or case.name in options.networks]
    if unknown := set(options.networks) - {case.name for case in wanted}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for case in wanted:
        done = read_rows(options.rows).get((case.library, case.name), {"failed": ""})
        if "failed" not in done and not options.again:
            continue
        row = {"library": case.library, "name": case.name, "size": case.size} | run(
            case, options.share, options.seconds, options.memory
        )
        with options.rows.open("a") as file:
            file.write(json.dumps(row | {"code": code(), "machine": machine()}) + "\n")
        told = {key: value for key, value in row.items() if key not in ("stays", "library", "traceback")}
        print(json.dumps(told), flush=True)
    if options.rows == ROWS:
        rows = read_rows(ROWS)
        TABLE.write_text(written([rows[key] for key in ((case.library, case.name) for case in cases()) if key in rows]))


if __name__ == "__main__":
    main()
