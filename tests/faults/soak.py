#!/usr/bin/env python3
"""A long run of a small network: what its workers hold of memory and of files, at first and at the end.

  tests/faults/soak.py --steps 10000 --np 4

Ends with 1 where a worker's resident memory has grown by 1 % or more since its warm-up, or where it has more
files open than then. Run scripts/build before.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "launcher"))
from faults import processes_of
from program import ENVIRONMENT, PROGRAM, mpirun, write_idx

# With an epoch of 100 steps, and so with many evaluations and checkpoints.
TRAINING = ("--arch", "mlp-3x64", "--batch-size", "8", "--lr", "0.01", "--log-every", "100", "--keep", "2")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--np", type=int, default=4)
    parser.add_argument("--warm-up", type=float, default=0.1, help="share of the steps (default: 0.1)")
    parser.add_argument("options", nargs="*", help="after --: more options of train")
    return parser.parse_args()


def holds(process: int) -> tuple[int, int]:
    """Kilobytes of resident memory, and open files."""
    status = Path(f"/proc/{process}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(resident.split()[1]), len(list(Path(f"/proc/{process}/fd").iterdir()))


def steps_done(run_dir: Path) -> int:
    """As far as lines of the metrics tell."""
    metrics = run_dir / "metrics.jsonl"
    return metrics.read_text().count('"loss"') * 100 if metrics.exists() else 0


def watch(run_dir: Path, running: subprocess.Popen, args: argparse.Namespace) -> list[list[tuple[int, int]]]:
    """What each worker held, from the end of the warm-up on, every second."""
    seen: dict[int, list[tuple[int, int]]] = {}
    while running.poll() is None:
        time.sleep(1)
        if steps_done(run_dir) < args.warm_up * args.steps:
            continue
        for process in processes_of(run_dir):
            try:
                seen.setdefault(process, []).append(holds(process))
            except (OSError, StopIteration):
                continue  # it has just ended
    return list(seen.values())


def main() -> int:
    args = parse_arguments()
    folder = Path(tempfile.mkdtemp(prefix="slicereduce."))
    try:
        data, run_dir = folder / "data", folder / "run"
        data.mkdir()
        write_idx(data, "train", 3200, 1, side=28)
        write_idx(data, "t10k", 100, 2, side=28)
        options = ("--data", str(data), "--run-dir", str(run_dir), "--steps", str(args.steps), *args.options)
        command = [*mpirun(args.np), PROGRAM, "train", *TRAINING, *options]
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL) as running:
            seen = watch(run_dir, running, args)
        if running.returncode != 0:
            sys.exit(f"soak: the run ended with exit code {running.returncode}")
    finally:
        shutil.rmtree(folder)
    if len(seen) != args.np or any(len(each) < 3 for each in seen):
        sys.exit("soak: too short to see anything: more --steps")
    well = True
    for rank, each in enumerate(seen):
        # While it ends, a process gives back what it has: the middle of the last ten counts.
        (memory, files), last = each[0], sorted(each[-10:])[len(each[-10:]) // 2]
        growth = 100 * (last[0] - memory) / memory
        well = well and growth < 1 and last[1] <= files
        print(f"worker {rank}: {memory / 1024:.1f} MB, {growth:+.2f} %; {files} files, then {last[1]}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
