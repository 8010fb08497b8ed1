"""The raw lines of the benchmarks, a JSON object for each run: read, appended, grouped and shown in tables.

A script that measures takes --raw FILE and appends a line for each run. With --tables it measures nothing
and prints the tables of the lines that are there: docs/benchmarks.md is made of these.
"""

import argparse
import functools
import json
import math
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path

from emulated_network import UNLIMITED, bits_per_s

APPENDED = "append every run's JSON line to this file"


def add_arguments(parser: argparse.ArgumentParser, raw_help: str = APPENDED) -> None:
    parser.add_argument("--raw", type=Path, help=raw_help)
    parser.add_argument(
        "--tables", action="store_true", help="measure nothing, print the tables of what is in --raw"
    )


def parse_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    args = parser.parse_args()
    if args.tables and args.raw is None:
        parser.error("--tables needs the raw lines: --raw FILE")
    return args


def parse(text: str) -> list[dict]:
    """The objects in a file, or in what a program has printed among other things."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def read(path: Path) -> list[dict]:
    return parse(path.read_text())


def append(path: Path | None, line: dict) -> None:
    """A new line, with where it was made and by which commit."""
    if path is not None:
        copy(path, line | provenance())


def copy(path: Path, line: dict) -> None:
    with path.open("a") as raw:
        raw.write(json.dumps(line) + "\n")


@functools.cache
def provenance() -> dict[str, str]:
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    described = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processors = f"{len(names)} x {names[0]}" if names else platform.machine()
    return {"commit": described or "unknown", "machine": f"{processors}, Linux {platform.release()}"}


def grouped(lines: Iterable[dict], *keys: str) -> dict:
    """Lists of lines by the value of `keys`, a tuple where they are several, in the order of the lines."""
    groups: dict = {}
    for line in lines:
        groups.setdefault(itemgetter(*keys)(line), []).append(line)
    return groups


def at_best_buckets(lines: list[dict]) -> list[dict]:
    """Of one row's lines, where a peer has several bucket sizes or ways to send, those with its fastest."""
    if any("peer" not in line for line in lines):
        return lines
    tried = grouped([{"backend": "gloo", **line} for line in lines], "bucket_mb", "backend")
    return min(tried.values(), key=lambda of_size: median(of_size, "step_ms"))


def median(lines: Iterable[dict], key: str) -> float | None:
    values = [line[key] for line in lines if key in line]
    return statistics.median(values) if values else None


def spread(lines: list[dict]) -> str:
    """Of the runs' steps."""
    steps = [line["step_ms"] for line in lines]
    return f"{min(steps):.0f}-{max(steps):.0f}" if len(steps) > 1 else ""


def how_many(rows: dict[str, list[dict]]) -> str:
    """What a number in a row stands for."""
    fewest, most = (choose(len(runs) for runs in rows.values()) for choose in (min, max))
    if most == 1:
        return "one run each"
    return f"medians of {most} runs" if fewest == most else f"medians of {fewest} to {most} runs"


def speed(rate: str) -> float:
    """In bits per second."""
    return math.inf if rate == UNLIMITED else bits_per_s(rate)


def spoken(rate: str) -> str:
    """100 Mbit/s for tc's 100mbit."""
    if rate == UNLIMITED:
        return "no limit"
    return f"{rate[:-4]} {rate[-4:].replace('m', 'M').replace('g', 'G')}/s"


def print_table(head: list[str], rows: Iterable[list[str]]) -> None:
    """In Markdown."""
    print(f"| {' | '.join(head)} |")
    print("|" + "---|" * len(head))
    for row in rows:
        print(f"| {' | '.join(row)} |")
