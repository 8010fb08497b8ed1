"""Starts of the program, each of which is made once, and what comes out of them.

There is never a card here, so that all is the same where the machine has one.
"""

import functools
import itertools
import json
import random
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from program import ALONE, ENVIRONMENT, PROGRAM, mpirun, png, write_idx

WITHOUT_CARD = ENVIRONMENT | {"CUDA_VISIBLE_DEVICES": ""}
TRAINED_ON = 48  # images
COMPACT = "--mode compact"
BAD_IMAGES = "--data {bad} --image-size 8 --batch-size 64 --steps 1"
BASES = {
    "": "",
    "train": "train --data {data} --arch wrn-10-1 --batch-size 8 --steps 3 --threads 1 --seed 1 --log-every 1"
    " --run-dir {out}",
    "eval": "eval --data {data} --checkpoint {compact} --json",
    "plan": "plan --arch wrn-10-1 --json",
    "bench allreduce": "bench allreduce --repeats 1 --warmup 0 --json",
    "bench step": "bench step --arch wrn-10-1 --image-size 8 --classes 2 --batch-size 2 --steps 1 --warmup 0"
    " --threads 1 --json",
    "bench loader": "bench loader --data {pictures} --image-size 16 --batch-size 4 --batches 1 --warmup 1",
    "pack": "pack {pictures} {out} --workers 1",
    "inspect": "inspect {compact}",
    "export": "export {compact} {out}.pt",
}


@dataclass(frozen=True)
class Outcome:
    """Of one start of the program."""

    code: int
    stdout: str
    stderr: str
    folder: Path  # {out} of its options
    starts: "Starts"  # others, to compare with

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]

    def steps(self, field: str) -> list:
        return [line[field] for line in self.lines() if "loss" in line]

    def evaluations(self, field: str) -> list:
        return [line[field] for line in self.lines() if "network" in line]

    def summary(self, field: str):
        return json.loads((self.folder / "summary.json").read_text())[field]

    def config(self) -> dict[str, str]:
        files = (self.folder / "config.toml", self.folder / "there" / "config.toml")
        lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
        return dict(line.split(" = ", 1) for line in lines if " = " in line)

    def checkpoints(self) -> list[int]:
        return sorted(int(file.stem[5:]) for file in (self.folder / "checkpoints").glob("step-*.ckpt"))

    def images_of_a_step(self) -> int:
        return round(TRAINED_ON * self.summary("epochs") / self.summary("steps"))

    def printed(self, *path: str):
        value = json.loads(self.stdout)
        for key in path:
            value = value[key]
        return value

    def files(self) -> dict[str, bytes]:
        return {
            str(file.relative_to(self.folder)): file.read_bytes()
            for file in self.folder.rglob("*")
            if file.is_file() and file.name not in ("pack.json", "lock")  # of the options, and of the process
        }


def write_pictures(folder: Path) -> None:
    """An image folder of two classes, of pictures that are large enough to decode a part of them."""
    side = 64
    generator = random.Random(1)
    for split, count in (("train", 32), ("val", 16)):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                picture = png(generator.randbytes(3 * side * side), side)
                (folder / split / label / f"{i:02}.png").write_bytes(picture)


def in_order(options: str) -> str:
    """Each by its last value, which is the one that the program takes. So what is told in another order is no
    other start."""
    values = dict(re.findall(r"(--[\w-]+)((?:[ =](?!--)\S+)*)", options))
    return " ".join(f"{option}{values[option]}" for option in sorted(values))


class Starts:
    """Of the program, each of which is started once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count()

    def of(self, command: str, options: str = "", base: str = "") -> Outcome:
        return self.once(base or BASES[command], in_order(options))

    @functools.cache  # noqa: B019 (a test class has one, as long as it runs)
    def once(self, base: str, options: str) -> Outcome:
        return self.anew(base, options)

    def anew(self, base: str, options: str = "") -> Outcome:
        out = self.folder / f"out-{next(self.numbers)}"
        return self.start([PROGRAM, *self.filled(f"{base} {options}", out)], out, WITHOUT_CARD | ALONE)

    @functools.cache  # noqa: B019
    def of_ranks(self, command: str, *different: str) -> Outcome:
        """The first rank has the command's base alone, each other one something beside it."""
        out = self.folder / f"out-{next(self.numbers)}"
        started = [*mpirun(1), PROGRAM, *self.filled(BASES[command], out)]
        for options in different:
            started += [":", "-np", "1", PROGRAM, *self.filled(f"{BASES[command]} {options}", out)]
        return self.start(started, out, WITHOUT_CARD)

    def start(self, command: list[str], out: Path, environment: dict[str, str]) -> Outcome:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return Outcome(done.returncode, done.stdout, done.stderr, out, self)

    def filled(self, options: str, out: Path) -> list[str]:
        def place(match: re.Match) -> str:
            return str(out if match[1] == "out" else self.place(match[1]))

        return re.sub(r"\{(\w+)\}", place, options).split()

    def checkpoint_of(self, *start: str) -> Path:
        return self.of(*start).folder / "checkpoints" / "best.ckpt"

    def place(self, name: str) -> Path:
        """What a name in braces stands for: a file or folder, made when it is first needed."""
        match name:
            case "run":
                return self.of("train", COMPACT).folder
            case "compact":
                return self.checkpoint_of("train", COMPACT)
            case "dense":
                return self.checkpoint_of("train")
            case "seen":  # it has seen pictures, all that can be read
                return self.checkpoint_of("train", f"{BAD_IMAGES} --bad-images skip")
            case "weights":
                return self.of("export").folder.with_suffix(".pt")
            case "shards":
                return self.of("pack", "--max-side 48").folder
        path = self.folder / name
        if not path.exists():
            self.make(path)
        return path

    def make(self, path: Path) -> None:
        match path.name:
            case "data" | "other":
                path.mkdir()
                for seed, (prefix, count) in enumerate(
                    (("train", TRAINED_ON), ("t10k", 16)), start=len(path.name)
                ):
                    write_idx(path, prefix, count, seed)
            case "pictures":
                write_pictures(path)
            case "bad":
                write_pictures(path)
                # Opening a folder looks at a few of its pictures: not at these.
                for name in ("train/cat/03.png", "val/dog/05.png"):
                    (path / name).write_bytes((path / name).read_bytes()[:40])
            case "measured" | "measured_dense":
                backward_ms = 200 if path.name == "measured" else 100
                path.write_text(
                    json.dumps({"forward_ms": 100, "backward_ms": backward_ms, "optimizer_ms": 5})
                )
            case "config":
                path.write_text("[inspect]\njson = true\n")
            case _:
                raise ValueError(path.name)
