"""Steps of our program on hosts with slow links, by the values of one option.

Two hosts of one thread each, as in scripts/bench/slow_links. The values of a row follow on each other, in
turn from either end, so that what slows the machine for a while is not one value's alone.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import raw_lines
from command_line import Parser
from contenders import NETWORKS, OURS, SETTINGS, ours, output_of, size_options
from emulated_network import EmulatedNetwork

ARCH = "resnet18"


def parse_arguments(doc: str, rates: Sequence[str], rounds: int) -> argparse.Namespace:
    parser = Parser(doc)
    parser.add_argument("--rates", nargs="+", default=rates)
    parser.add_argument("--batch-size", type=int, default=16, help="images a worker (default: 16)")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=rounds)
    raw_lines.add_arguments(parser)
    return raw_lines.parse_arguments(parser)


def measure(
    args: argparse.Namespace, rows: Sequence[str], option: str, values: Sequence[str]
) -> Iterator[dict]:
    """What `bench step` prints, with row and rate."""
    size = size_options(ARCH, NETWORKS[ARCH], args.batch_size, args.steps)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    for number in range(args.rounds):
        for rate in args.rates:
            with EmulatedNetwork(2, rate) as network:
                for row in rows:
                    for value in values if number % 2 == 0 else reversed(values):
                        command = ours(size, "--wire", "bf16", option, value, *OURS[row])
                        output = output_of(row, network.mpirun(command, SETTINGS, **pipes))
                        line = {"row": row, "rate": rate, **raw_lines.parse(output)[-1]}
                        raw_lines.append(args.raw, line)
                        yield line


def title(lines: list[dict], key: str) -> str:
    """What a table of `lines` is of, where a figure is of the runs with the same row, rate and `key`."""
    side = lines[0]["image_size"]
    runs = raw_lines.how_many(raw_lines.grouped(lines, "row", "rate", key))
    return f"{ARCH} at {side}x{side}, 1,000 classes, fp32 arithmetic, bf16 wire, {runs}:"
