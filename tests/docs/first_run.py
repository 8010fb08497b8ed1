#!/usr/bin/env python3
"""Goes the way of docs/first-run.md as a newcomer does, and says how long each block of commands took.

    git clone . /tmp/first-run && tests/docs/first_run.py /tmp/first-run

Nothing is cut down: it installs, builds and trains, in the clone that is named. Blocks that need what set-up
does not bring are left out, and said to be. Not a test of ctest, which would be at it for twenty minutes.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))

from blocks import Block, blocks_of

PAGE = "docs/first-run.md"


def can_run(block: Block) -> bool:
    return "needs" not in (block.why_not_run or "")


def run_block(script: str, clone: Path) -> float:
    """Seconds of it; ends the program where a command in it fails."""
    began = time.monotonic()
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=clone, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{PAGE}: this ended with {done.returncode}:\n{script}")
    return time.monotonic() - began


def exports(script: str) -> dict[str, str]:
    """What a block sets for those after it: a newcomer has one shell."""
    words = [word for line in script.splitlines() if line.startswith("export ") for word in line.split()[1:]]
    return dict(word.split("=", 1) for word in words)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clone", type=Path, help="a fresh clone of this repository")
    clone = parser.parse_args().clone
    total = 0.0
    for block in blocks_of(PAGE, (clone / PAGE).read_text(encoding="utf-8")):
        first = block.text.splitlines()[0]
        if not can_run(block):
            print(f"{PAGE}:{block.line}: left out, it {block.why_not_run}: {first}", flush=True)
            continue
        os.environ.update(exports(block.text))
        seconds = run_block(block.text, clone)
        total += seconds
        print(f"{PAGE}:{block.line}: {seconds:.1f} s: {first}", flush=True)
    print(f"all of {PAGE}: {total / 60:.1f} min", flush=True)


if __name__ == "__main__":
    main()
