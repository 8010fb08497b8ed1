"""Runs that scripts/to_tensorboard converts, and what TensorBoard's own reader finds of them."""

import json
import os
import struct
import subprocess
import unittest
from pathlib import Path

from synthetic_runs import PYTHON, REPOSITORY, ReportTest

SCRIPT = REPOSITORY / "scripts/to_tensorboard"
READER = REPOSITORY / "tests/report/read_events.py"
# Of a step's line: the fields whose tags are not train/NAME.
TAGS = {
    **{f"{part}_ms": f"time/{part}_ms" for part in ("step", "data", "plan", "gather", "forward", "backward")},
    **{f"{part}_ms": f"time/{part}_ms" for part in ("exposed_comm", "comm", "optimizer")},
    "wire_bytes": "wire/bytes",
    "dense_bytes": "wire/dense_bytes",
}


def as_float32(value: float) -> float:
    """As event files hold it."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def points_of(lines: list[dict]) -> dict[str, list[tuple[int, float]]]:
    """By tag: step and value of every number."""
    points: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name in ("step", "network") or value is None:
                continue
            tag = f"eval/{line['network']}/{name}" if "network" in line else TAGS.get(name, f"train/{name}")
            points.setdefault(tag, []).append((line["step"], as_float32(value)))
    return points


class TensorBoardTest(ReportTest):
    @classmethod
    def setUpClass(cls) -> None:
        has_it = subprocess.run([PYTHON, "-c", "import tensorboard"], capture_output=True) if PYTHON else None
        if has_it is None or has_it.returncode != 0:
            raise unittest.SkipTest(f"{PYTHON} has no tensorboard: run scripts/setup --peers")

    def convert(
        self, *arguments: object, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        command = [PYTHON, SCRIPT, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ | (environment or {}))

    def converted(self, *arguments: object) -> None:
        done = self.convert(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def read(self, folder: Path, *then: object) -> dict:
        done = subprocess.run(
            [PYTHON, READER, folder, *map(str, then)], capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def expect_points(self, found: dict, lines: list[dict]) -> None:
        points = {
            tag: [(step, value) for step, _, value in events] for tag, events in found["scalars"].items()
        }
        self.assertEqual(points, points_of(lines))

    def metrics_of(self, run: Path) -> list[dict]:
        return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
