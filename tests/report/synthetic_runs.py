"""Run directories made by hand, whose numbers are easy to check, and scripts/report as a user runs it.

VENV_PYTHON names a Python with matplotlib, where that is not .venv's.
"""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("VENV_PYTHON", str(REPOSITORY / ".venv" / "bin" / "python"))
STEPS_PER_EPOCH = 10
LOG_EVERY = 4
DENSE_BYTES = 8_000
CONFIG = {
    "arch": "resnet20",
    "batch-size": 16,
    "dataset": "mnist",
    "log-every": LOG_EVERY,
    "lr": 0.1,
    "mode": "dense",
    "nesterov": False,
    "seed": 1,
    "reduce": "slices",
}
PARTS = {
    "data_ms": 1.0,
    "plan_ms": 2.0,
    "gather_ms": 3.0,
    "forward_ms": 20.0,
    "backward_ms": 40.0,
    "exposed_comm_ms": 5.0,
    "optimizer_ms": 4.0,
}
STEP_MS = sum(PARTS.values())
COMM_MS = 30.0


def wire_bytes(step: int) -> int:
    """Halves after the first epoch."""
    return 4_000 if step <= STEPS_PER_EPOCH else 2_000


def step_line(step: int, loss: float | None = 1.0) -> dict:
    return {
        "step": step,
        "epoch": (step - 1) // STEPS_PER_EPOCH,
        "loss": loss,
        "skipped_steps": 0,
        "lr": 0.1,
        "sample_ratio": 1.0,
        "images_per_s": 400.0,
        "step_ms": STEP_MS,
        **PARTS,
        "comm_ms": COMM_MS,
        "wire_bytes": wire_bytes(step),
        "dense_bytes": DENSE_BYTES,
        "flops": 6e9,
    }


def evaluation_line(step: int, network: str, top1: float) -> dict:
    return {
        "step": step,
        "epoch": step // STEPS_PER_EPOCH - 1,
        "network": network,
        "top1": top1,
        "top5": 90.0,
        "val_loss": 0.5,
        "train_s": step * STEP_MS / 1e3,
    }


def lines_of(epochs: int, top1: dict[str, float]) -> list[dict]:
    """`top1` of each network after the first epoch; each further one adds 1."""
    lines = []
    for step in range(1, epochs * STEPS_PER_EPOCH + 1):
        ends_epoch = step % STEPS_PER_EPOCH == 0
        if step % LOG_EVERY == 0 or ends_epoch:
            lines.append(step_line(step))
        if ends_epoch:
            lines += [
                evaluation_line(step, name, first + step // STEPS_PER_EPOCH - 1)
                for name, first in top1.items()
            ]
    return lines


def summary_of(lines: list[dict]) -> dict:
    steps = lines[-1]["step"]
    top1 = {line["network"]: line["top1"] for line in lines if "network" in line}
    return {
        "arch": "resnet20",
        "world_size": 2,
        "device": "cpu",
        "epochs": steps / STEPS_PER_EPOCH,
        "steps": steps,
        "top1": top1.get("sampled", top1.get("dense")),
        "top1_sampled": top1.get("sampled"),
        "top1_dense": top1.get("dense"),
        "images_per_s": 390.0,
        "wire_bytes_per_step": wire_bytes(steps),
        "dense_bytes_per_step": DENSE_BYTES,
        "flops_per_step": 6e9,
        "dense_flops_per_step": 24e9,
        "train_s": steps * STEP_MS / 1e3,
    }


def toml(value: object) -> str:
    return json.dumps(value)


def write_config(folder: Path, **options: object) -> None:
    given = {name.replace("_", "-"): value for name, value in options.items()}
    options = CONFIG | given | {"run-dir": str(folder)}
    text = "".join(f"{name} = {toml(value)}\n" for name, value in options.items())
    (folder / "config.toml").write_text(f"[train]\n{text}")


def write_lines(folder: Path, lines: list[dict]) -> None:
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


class ReportTest(unittest.TestCase):
    draws = False  # whether pages have their plots

    @classmethod
    def setUpClass(cls) -> None:
        has_it = subprocess.run([PYTHON, "-c", "import matplotlib"], capture_output=True) if PYTHON else None
        if has_it is None or has_it.returncode != 0:
            raise unittest.SkipTest(f"{PYTHON} has no matplotlib: run scripts/setup")

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slicereduce."))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "out"

    def run_dir(
        self,
        name: str,
        epochs: int = 3,
        top1: dict[str, float] | None = None,
        lines: list[dict] | None = None,
        summary: dict | None = None,
        is_complete: bool = True,
        **options: object,
    ) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True)
        lines = lines or lines_of(epochs, top1 or {"dense": 70.0})
        write_lines(folder, lines)
        write_config(folder, **options)
        if is_complete:
            (folder / "summary.json").write_text(json.dumps(summary_of(lines) | (summary or {})))
        return folder

    def report(
        self, *arguments: object, program: str = "/nowhere/slicereduce"
    ) -> subprocess.CompletedProcess:
        script = REPOSITORY / ("scripts/report" if self.draws else "tests/report/undrawn.py")
        return subprocess.run(
            [PYTHON, script, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=os.environ | {"SLICEREDUCE": program},
        )

    def page_of(self, *runs: Path, program: str = "/nowhere/slicereduce") -> str:
        done = self.report(*runs, "--out", self.out, program=program)
        self.assertEqual(done.returncode, 0, done.stderr)
        return (self.out / "index.html").read_text(encoding="utf-8")
