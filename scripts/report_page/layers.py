"""Bytes and arithmetic of each layer, as `slicereduce plan` tells them for a run's options."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from report_page.groups import Group
from report_page.runs import Run

ROOT = Path(__file__).resolve().parents[2]


class NoPlan(Exception):
    """Why a run's layers can't be told."""


class Images(NamedTuple):
    """What a network sees; the options of a run do not say, as it takes that from its data."""

    in_channels: int
    side: int
    classes: int


class Asked(NamedTuple):
    images: Images
    world_size: int


@dataclass(eq=False)
class Plan:
    group: Group
    layers: list[dict]
    total: dict

    @property
    def network(self) -> tuple:
        """Equal for runs of the same network."""
        return tuple((layer["name"], layer["dense_bytes"], layer["dense_flops"]) for layer in self.layers)


def program() -> Path:
    """Raises NoPlan where there is none."""
    path = Path(os.environ.get("SLICEREDUCE") or ROOT / "build/slicereduce")
    if not os.access(path, os.X_OK):
        raise NoPlan(
            f"{path} is not there. Layers are told by the program: build it with scripts/build, or name it in"
            " the environment's SLICEREDUCE, and make this report again"
        )
    return path


def output_of(*arguments: str | Path) -> dict:
    done = subprocess.run(
        [program(), *arguments], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"ended with code {done.returncode}"]
        raise NoPlan(f"slicereduce {arguments[0]}: {said[-1]}")
    return json.loads(done.stdout)


def in_force(schedule: str, epoch: int) -> str | None:
    """`schedule` is EPOCH:VALUE,...: the value of the last entry that was reached."""
    reached = None
    for entry in filter(None, schedule.split(",")):
        begin, _, value = entry.partition(":")
        if int(begin) <= epoch:
            reached = value
    return reached


def scheduled(run: Run) -> list[str]:
    """Options as they were at the run's last step. `plan` knows no schedules."""
    epoch = run.last.get("epoch", 0)
    options = {"--mode": "mode-schedule", "--sample-ratio": "ratio-schedule"}
    values = {option: in_force(run.config.get(name, ""), epoch) for option, name in options.items()}
    return [word for option, value in values.items() if value for word in (option, value)]


def ask(run: Run, asked: Asked) -> dict:
    images = asked.images
    facts = {
        "--in-channels": images.in_channels,
        "--image-size": images.side,
        "--classes": images.classes,
        "--world-size": asked.world_size,
    }
    words = [str(word) for fact in facts.items() for word in fact]
    return output_of("plan", "--run", run.folder, *scheduled(run), *words, "--json")


def newest_checkpoint(run: Run) -> Path | None:
    folder = run.folder / "checkpoints"
    return next(iter([*sorted(folder.glob("step-*.ckpt"), reverse=True), *folder.glob("best.ckpt")]), None)


def of_checkpoint(path: Path) -> Asked:
    manifest = output_of("inspect", path, "--json")["manifest"]
    images = Images(manifest["in_channels"], manifest["image_size"], manifest["num_classes"])
    return Asked(images, manifest["world_size"])


def of_summary(run: Run) -> Asked | None:
    """None where there is none, or one of an earlier version."""
    found = [(run.summary or {}).get(name) for name in ("in_channels", "image_size", "num_classes")]
    return None if None in found or run.world_size is None else Asked(Images(*found), run.world_size)


def answer(run: Run) -> dict:
    """Raises NoPlan."""
    if asked := of_summary(run):
        return ask(run, asked)
    if checkpoint := newest_checkpoint(run):
        return ask(run, of_checkpoint(checkpoint))
    raise NoPlan("it has neither a checkpoint nor a summary.json that tells the size of its images")


def plan_of(group: Group) -> Plan:
    """Of its first run that can be asked about. Raises NoPlan."""
    program()
    problems = []
    for run in group.runs:
        try:
            told = answer(run)
        except NoPlan as error:
            problems.append(f"{run.name}: {error}")
        else:
            return Plan(group, told["layers"], told["total"])
    raise NoPlan("; ".join(problems))
