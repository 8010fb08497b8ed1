"""What the benchmarks compare: command lines of our program and of PyTorch's DDP, with the same network,
batch and threads, each at the best settings that were found for it."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SLICEREDUCE_BUILD_DIR", ROOT / "build"))
PROGRAM = Path(os.environ.get("SLICEREDUCE", BUILD / "slicereduce"))

# Of every rank. Freed activations stay with the process: 10 % for PyTorch; our program asks for it by itself.
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
}
ENVIRONMENT = os.environ | SETTINGS | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

# By row of scripts/bench/slow_links: DDP's hooks, our options, and the side of a network's images.
PEERS = {
    "PyTorch DDP": "none",
    "PyTorch DDP, fp16 hook": "fp16",
    "PyTorch DDP, bf16 hook": "bf16",
    "PyTorch DDP, PowerSGD 1": "powersgd-1",
    "PyTorch DDP, PowerSGD 2": "powersgd-2",
    "PyTorch DDP, PowerSGD 4": "powersgd-4",
    "PyTorch DDP, PowerSGD 1 in bf16": "powersgd-1-bf16",
}
WHOLE = ("--reduce", "slices")  # what there is of the gradient, without factors
POWERSGD = ("--reduce", "powersgd", "--powersgd-rank")
# With the rank of the other rows.
AUTO = ("--sample-ratio", "0.25", "--slice-output-ratio", "0.25", "--powersgd-rank", "4")
OURS = {
    "dense": ("--mode", "dense", *WHOLE),
    "dense, rank 1": ("--mode", "dense", *POWERSGD, "1"),
    "dense, rank 4": ("--mode", "dense", *POWERSGD, "4"),
    "dense, rank 16": ("--mode", "dense", *POWERSGD, "16"),
    "feedback, 1/8 of fp32": ("--mode", "feedback", "--sample-ratio", "0.25", *WHOLE),
    "feedback, 1/32 of fp32": (
        *("--mode", "feedback", "--sample-ratio", "0.25", "--slice-output-ratio", "0.25", *WHOLE),
    ),
    "feedback 1/32, rank 4": (
        *("--mode", "feedback", "--sample-ratio", "0.25", "--slice-output-ratio", "0.25", *POWERSGD, "4"),
    ),
    "compact 0.5": ("--mode", "compact", "--sample-ratio", "0.5", *WHOLE),
    "compact 0.25": ("--mode", "compact", "--sample-ratio", "0.25", *WHOLE),
    "compact 0.5, rank 1": ("--mode", "compact", "--sample-ratio", "0.5", *POWERSGD, "1"),
    "compact 0.5, rank 4": ("--mode", "compact", "--sample-ratio", "0.5", *POWERSGD, "4"),
    "compact 0.25, rank 4": ("--mode", "compact", "--sample-ratio", "0.25", *POWERSGD, "4"),
    "auto, whole network": ("--mode", "auto", *AUTO),
    "auto, compact from 0.25": ("--mode", "auto", "--auto-ratio", "0.25", *AUTO),
}
# MB, each tried at each rate: the faster one counts. Without PowerSGD 1 is as good as any for DDP: 284 ms
# against 307 with 25 (ResNet-18, bf16 hook, 1 Gbit/s), 717 against 765 at 300 Mbit/s; 4, 0.5 and 0.25 take as
# long. PowerSGD's best is one bucket on the fastest link, and 4 of 16, 4 and 1 on slow ones (rank 4, 100
# Mbit/s: 198 ms against 244 with one).
BUCKETS = ("1",)
POWERSGD_BUCKETS = ("4", "2000")
NETWORKS = {"resnet18": 32, "resnet50": 64}


def size_options(arch: str, image_size: int, batch_size: int, steps: int, device: str = "cpu") -> list[str]:
    return [
        *("--arch", arch, "--image-size", str(image_size), "--batch-size", str(batch_size)),
        *("--steps", str(steps), "--threads", "1", "--device", device),
    ]


def peer_buckets(hook: str) -> tuple[str, ...]:
    return POWERSGD_BUCKETS if hook.startswith("powersgd") else BUCKETS


def peer_backends(device: str) -> tuple[str, ...]:
    """A rank that waits in NCCL's kernel takes time from another one on its card; with gloo it does not."""
    return ("nccl", "gloo") if device == "cuda" else ("gloo",)


def peer(size: list[str], *options: str) -> list[str]:
    return [str(ROOT / ".venv/bin/python"), str(ROOT / "scripts/bench/peers/ddp_step.py"), *size, *options]


def ours(size: list[str], *options: str) -> list[str]:
    return [str(PROGRAM), "bench", "step", *size, "--json", *options]


@functools.cache
def plan(*options: str) -> dict:
    """What `slicereduce plan` says."""
    done = subprocess.run([str(PROGRAM), "plan", "--json", *options], capture_output=True, text=True)
    return json.loads(output_of(f"plan {' '.join(options)}", done))


def output_of(name: str, done: subprocess.CompletedProcess) -> str:
    """What it has printed. Where it failed, this program ends with its errors."""
    if done.returncode != 0:
        sys.exit(f"{name} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
