"""What the benchmarks compare: command lines of our program and of PyTorch's DDP, with the same network,
batch and threads, each at its best settings."""

import os
import statistics
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Of every rank. Freed activations stay with the process: 10 % for PyTorch; our program asks for it by itself.
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
}
ENVIRONMENT = os.environ | SETTINGS | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def size_options(arch: str, image_size: int, batch_size: int, steps: int) -> list[str]:
    return [
        *("--arch", arch, "--image-size", str(image_size), "--batch-size", str(batch_size)),
        *("--steps", str(steps), "--threads", "1"),
    ]


def peer(size: list[str], *options: str) -> list[str]:
    return [str(ROOT / ".venv/bin/python"), str(ROOT / "scripts/bench/peers/ddp_step.py"), *size, *options]


def ours(size: list[str], *options: str) -> list[str]:
    return [str(ROOT / "build/slicereduce"), "bench", "step", *size, "--device", "cpu", "--json", *options]


def median(runs: list[dict], key: str) -> float | None:
    values = [line[key] for line in runs if key in line]
    return statistics.median(values) if values else None
