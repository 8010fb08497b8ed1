#!/usr/bin/env python3
"""Prints a run's summary.json for people. Only Python's standard library."""

import json
from pathlib import Path

from command_line import Parser


def megabytes(count: float) -> str:
    return f"{count / 1e6:.3f} MB"


def accuracies(summary: dict) -> list[tuple[str, str]]:
    """Of the networks that were evaluated."""
    networks = {"sampled": summary.get("top1_sampled"), "exact": summary.get("top1_dense")}
    known = {name: top1 for name, top1 in networks.items() if top1 is not None}
    return [(f"Test accuracy, {name} network", f"{top1:.2f} % top-1") for name, top1 in known.items()]


def lines(summary: dict) -> list[tuple[str, str]]:
    wire, dense = summary["wire_bytes_per_step"], summary["dense_bytes_per_step"]
    flops, dense_flops = summary["flops_per_step"], summary["dense_flops_per_step"]
    return [
        ("Network", f"{summary['arch']}, {summary['world_size']} workers, {summary['device']}"),
        ("Trained", f"{summary['epochs']:.3g} epochs, {summary['steps']} steps, {summary['wall_s']:.0f} s"),
        ("Speed", f"{summary['images_per_s']:.0f} images/s"),
        *accuracies(summary),
        ("On the wire per step", f"{megabytes(wire)} a worker"),
        ("  a dense fp32 AllReduce", f"{megabytes(dense)} ({wire / dense:.3f} of it sent)"),
        ("  a dense bf16 AllReduce", f"{megabytes(dense / 2)} ({2 * wire / dense:.3f} of it sent)"),
        (
            "Arithmetic per step",
            f"{flops / 1e9:.2f} of {dense_flops / 1e9:.2f} GFLOP ({flops / dense_flops:.3f})",
        ),
    ]


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("summary", type=Path, metavar="RUN/summary.json")
    path = parser.parse_args().summary
    try:
        summary = json.loads(path.read_text())
    except OSError as problem:
        parser.error(f"{path}: {problem.strerror}")
    except ValueError as problem:
        parser.error(f"{path}: not JSON ({problem})")
    for name, value in [*lines(summary), ("Files", str(path.parent))]:
        print(f"{name:32}{value}")


if __name__ == "__main__":
    main()
