#!/usr/bin/env python3
"""Every fault at every place of a run, on the first and the last rank of two and of four: what came of it.

  tests/faults/matrix.py --raw docs/measured/faults.jsonl
  tests/faults/matrix.py --tables --raw docs/measured/faults.jsonl

A cell passes where all processes are gone within the time-out and 5 seconds, the exit code is an error's, the
culprit is named, and the same command without the fault goes on to the weights of an undisturbed run. Cells
that are in the raw lines are not run again. Takes about 15 minutes; the link between two emulated hosts needs
root and iproute2. Run scripts/build before.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "launcher"))
from faults import FAULTS, LINK_DOWN, PLACES, Cell, Runs, all_cells


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raw", type=Path, default=Path("faults.jsonl"), help="append every cell here")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    parser.add_argument("--tables", action="store_true", help="run nothing, print the table of what is there")
    return parser.parse_args()


def read(raw: Path) -> dict[Cell, dict]:
    """The last line of each cell."""
    lines = [json.loads(line) for line in raw.read_text().splitlines()] if raw.exists() else []
    return {Cell(**line["cell"]): line for line in lines}


def run_all(args: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="slicereduce.", dir="/var/tmp"))
    failed = 0
    try:
        runs = Runs(folder)
        done = read(args.raw)
        for cell in all_cells():
            if (cell in done and not done[cell]["problem"]) or args.only not in cell.fault:
                continue
            verdict = runs.disturb(cell)
            problem = verdict.problem(cell)
            failed += bool(problem)
            line = {
                "cell": cell._asdict(),
                "problem": problem,
                "exit_code": verdict.code,
                "seconds": round(verdict.seconds, 2),
                "machine": f"{os.cpu_count()} cores, Linux {platform.release()}",
            }
            with args.raw.open("a") as raw:
                raw.write(json.dumps(line) + "\n")
            print(f"{cell.describe()}: {problem or 'passed'}, {verdict.seconds:.1f} s", flush=True)
            if problem:
                print(verdict.said, file=sys.stderr)
    finally:
        shutil.rmtree(folder)
    return failed


def print_table(lines: dict[Cell, dict]) -> None:
    print(f"| | {' | '.join(PLACES)} | seconds to the end |")
    print("|---|" + "---|" * (len(PLACES) + 1))
    for fault in (*FAULTS, LINK_DOWN):
        of_fault = {cell: line for cell, line in lines.items() if cell.fault == fault}
        columns = []
        for place in PLACES:
            verdicts = [not line["problem"] for cell, line in of_fault.items() if cell.place == place]
            columns.append(f"{sum(verdicts)} of {len(verdicts)}")
        times = sorted(line["seconds"] for line in of_fault.values())
        columns.append(f"{times[0]:.1f} to {times[-1]:.1f}" if times else "")
        print(f"| {fault} | {' | '.join(columns)} |")


def main() -> int:
    args = parse_arguments()
    if args.tables:
        print_table(read(args.raw))
        return 0
    return 1 if run_all(args) else 0


if __name__ == "__main__":
    sys.exit(main())
