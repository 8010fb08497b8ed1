"""Reads run directories as docs/files.md describes them, and refuses what is damaged."""

import bisect
import itertools
import json
import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

# The parts of a step that follow each other; comm_ms runs beside them.
STEP_PARTS = (
    "data_ms",
    "plan_ms",
    "gather_ms",
    "forward_ms",
    "backward_ms",
    "exposed_comm_ms",
    "optimizer_ms",
)
STEP_NUMBERS = (
    *("loss", "skipped_steps", "images_per_s", "step_ms", "comm_ms", *STEP_PARTS),
    *("wire_bytes", "dense_bytes", "flops"),
)
EVALUATION_NUMBERS = ("top1", "top5", "val_loss", "train_s")
NETWORKS = ("sampled", "dense")


class Refused(Exception):
    """A run that can't be read: what is wrong, where, and what to do."""


class NotBegun(Refused):
    """A run that has done no step yet: it can be read later."""


class Spent(NamedTuple):
    """What a run had taken when it had done `step` steps; None: its files do not say."""

    step: int
    epochs: float | None
    seconds: float | None
    wire_bytes: float | None


class Interval(NamedTuple):
    """The steps that a line of metrics.jsonl stands for."""

    steps: int
    line: dict


def times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def running_total(values: list[float | None]) -> list[float | None]:
    """From the first value that is missing on, the totals are missing, too."""
    return list(
        itertools.accumulate(values, lambda total, more: None if None in (total, more) else total + more)
    )


@dataclass(eq=False)
class Run:
    folder: Path
    name: str
    config: dict[str, str]
    step_lines: list[dict]
    evaluations: list[dict]
    summary: dict | None  # None: the run is not complete
    notes: list[str] = field(default_factory=list)

    @cached_property
    def lines(self) -> list[dict]:
        """Of both kinds, in the order of steps."""
        return sorted([*self.step_lines, *self.evaluations], key=lambda line: line["step"])

    @property
    def last_step(self) -> int:
        return self.lines[-1]["step"]

    @property
    def last(self) -> dict:
        """The last step's line."""
        return self.step_lines[-1] if self.step_lines else {}

    @cached_property
    def begins_after(self) -> int:
        """Steps that were done elsewhere. A run that goes on from a checkpoint of another folder does not say
        where it began; its first line can't stand for more than --log-every steps."""
        if not self.step_lines:
            return 0
        every = max(int(self.config.get("log-every", 0)), 1)
        return (self.step_lines[0]["step"] - 1) // every * every

    @cached_property
    def intervals(self) -> list[Interval]:
        ends = [self.begins_after, *(line["step"] for line in self.step_lines)]
        counts = [end - begin for begin, end in itertools.pairwise(ends)]
        return [Interval(*pair) for pair in zip(counts, self.step_lines, strict=True)]

    def total(self, name: str) -> float | None:
        """Over all steps, of a figure that lines give for one step."""
        values = [times(count, line.get(name)) for count, line in self.intervals]
        return None if not values or None in values else math.fsum(values)

    def mean(self, name: str) -> float | None:
        total, steps = self.total(name), sum(count for count, _ in self.intervals)
        return total / steps if total is not None and steps else None

    @cached_property
    def steps_per_epoch(self) -> float | None:
        if self.summary and self.summary.get("epochs"):
            return self.summary["steps"] / self.summary["epochs"]
        # Before its end a run is evaluated where an epoch is complete.
        return next((line["step"] / (line["epoch"] + 1) for line in self.evaluations), None)

    @cached_property
    def _spent(self) -> list[Spent]:
        """At each step's line."""
        seconds = running_total([times(count / 1e3, line.get("step_ms")) for count, line in self.intervals])
        wire = running_total([times(count, line.get("wire_bytes")) for count, line in self.intervals])
        per_epoch = self.steps_per_epoch
        steps = [line["step"] for line in self.step_lines]
        epochs = [step / per_epoch if per_epoch else None for step in steps]
        return [Spent(*figures) for figures in zip(steps, epochs, seconds, wire, strict=True)]

    def spent(self, step: int) -> Spent:
        place = bisect.bisect_right(self._spent, step, key=lambda spent: spent.step) - 1
        return self._spent[place] if place >= 0 else Spent(step, None, None, None)

    @property
    def train_s(self) -> float | None:
        """Of all processes that had a part in the run. The summary knows the last one alone, which took a
        little more than its steps' parts; so whichever is more."""
        known = [self.spent(self.last_step).seconds, (self.summary or {}).get("train_s")]
        return max((seconds for seconds in known if seconds is not None), default=None)

    @property
    def was_resumed(self) -> bool:
        seconds = self.spent(self.last_step).seconds
        return bool(self.summary) and seconds is not None and seconds > self.summary.get("train_s", math.inf)

    @property
    def images_per_s(self) -> float | None:
        if self.summary and not self.was_resumed:
            return self.summary.get("images_per_s")
        speeds = [(count, line.get("images_per_s")) for count, line in self.intervals]
        if not speeds or not all(speed for _, speed in speeds):
            return None
        return sum(count for count, _ in speeds) / math.fsum(count / speed for count, speed in speeds)

    @property
    def wire_saved(self) -> float | None:
        """Of all that a dense fp32 AllReduce would have sent until now."""
        wire, dense = self.total("wire_bytes"), self.total("dense_bytes")
        return 1 - wire / dense if wire is not None and dense else None

    @property
    def flops_per_step(self) -> float | None:
        return self.summary.get("flops_per_step") if self.summary else self.last.get("flops")

    @property
    def flops_saved(self) -> float | None:
        dense = (self.summary or {}).get("dense_flops_per_step")
        return 1 - self.flops_per_step / dense if dense and self.flops_per_step is not None else None

    def evaluated(self, network: str) -> list[dict]:
        return [line for line in self.evaluations if line["network"] == network]

    @property
    def networks(self) -> list[str]:
        return [network for network in NETWORKS if self.evaluated(network)]

    @property
    def world_size(self) -> int | None:
        return (self.summary or {}).get("world_size")


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def no_such_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def problem_of(line: object) -> str | None:
    """Why `line` can't be one of metrics.jsonl."""
    if not isinstance(line, dict):
        return "not a JSON object"
    for name in ("step", "epoch"):
        if not isinstance(line.get(name), int) or isinstance(line[name], bool) or line[name] < 0:
            return f"`{name}` is not a count"
    if ("loss" in line) == ("network" in line):
        return "neither a step (`loss`) nor an evaluation (`network`)"
    if line.get("network", "dense") not in NETWORKS:
        return "`network` is neither sampled nor dense"
    for name in STEP_NUMBERS if "loss" in line else EVALUATION_NUMBERS:
        value = line.get(name)
        if value is not None and not is_number(value):
            return f"`{name}` is not a number"
    return None


def whole_lines(path: Path) -> tuple[list[str], bool]:
    """And whether the file ends in a torn one: a crash leaves it without a newline, and so may a run that is
    at work. The program passes over it, too."""
    try:
        *lines, rest = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        number = path.read_bytes()[: error.start].count(b"\n") + 1
        raise Refused(f"{path}:{number}: not UTF-8; {ADVICE}") from None
    return lines, bool(rest.strip())


ADVICE = "take the line off, or leave this run out"


def parsed_lines(path: Path, lines: list[str]) -> Iterator[dict]:
    step = 0
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text, parse_constant=no_such_number)
        except ValueError as error:
            raise Refused(f"{path}:{number}: not JSON ({error}); {ADVICE}") from None
        if problem := problem_of(line):
            raise Refused(f"{path}:{number}: {problem}; {ADVICE}")
        if line["step"] < step:
            raise Refused(f"{path}:{number}: step {line['step']} comes after step {step}; {ADVICE}")
        step = line["step"]
        yield line


def read_metrics(path: Path) -> tuple[list[dict], bool]:
    """Its lines, and whether a torn one was left out."""
    lines, torn = whole_lines(path)
    read = list(parsed_lines(path, lines))
    if not read:
        raise NotBegun(
            f"{path}:1: the file has no whole line; wait for the run's first step, or leave this run out"
        )
    return read, torn


def read_config(path: Path) -> dict[str, str]:
    """Every option of the run as text."""
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: not TOML ({error}); restore the file, or leave this run out") from None
    if not isinstance(sections.get("train"), dict):
        raise Refused(f"{path}: no section [train]; restore the file, or leave this run out")
    return {name: plain(value) for name, value in sections["train"].items()}


def plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_summary(path: Path) -> dict | None:
    if not path.exists():
        return None
    try:
        summary = json.loads(path.read_text(encoding="utf-8"), parse_constant=no_such_number)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise Refused(f"{path}:{line}: not JSON ({error}); remove the file, or leave this run out") from None
    numbers = ("steps", "epochs", "train_s", "images_per_s", "flops_per_step", "dense_flops_per_step")
    optional = ("top1", "top1_sampled", "top1_dense", "world_size")
    if not isinstance(summary, dict) or not is_number(summary.get("steps")):
        raise Refused(f"{path}:1: not a run's summary; remove the file, or leave this run out")
    for name in (*numbers, *optional):
        if summary.get(name) is not None and not is_number(summary[name]):
            raise Refused(f"{path}: `{name}` is not a number; remove the file, or leave this run out")
    return summary


def require_a_run(folder: Path) -> None:
    if not folder.is_dir():
        raise Refused(f"{folder}: no such folder; name the run directories that --run-dir named")
    for name in ("metrics.jsonl", "config.toml"):
        if not (folder / name).is_file():
            inside = sorted(path.parent for path in folder.glob("*/metrics.jsonl"))
            hint = f"did you mean {' '.join(map(str, inside))}?" if inside else "is it a run directory?"
            # The lock is what a run makes first.
            refusal = NotBegun if (folder / "lock").is_file() else Refused
            raise refusal(f"{folder / name}: no such file; {hint}")


def notes_of(run: Run, torn: bool, summary: dict | None) -> list[str]:
    notes = []
    if run.summary is None:
        reason = f"summary.json is of step {summary['steps']}" if summary else "there is no summary.json"
        notes.append(f"not complete: {reason}, figures go up to step {run.last_step}")
    if run.steps_per_epoch is None:
        notes.append("no epoch is complete: it has no place in plots over epochs")
    if run.was_resumed:
        notes.append("was resumed: time and images/s are from metrics.jsonl, over all its parts")
    if run.begins_after:
        notes.append(
            f"metrics begin after step {run.begins_after}: what was done before, elsewhere, is not counted"
        )
    if skipped := sum(line.get("skipped_steps") or 0 for line in run.step_lines):
        notes.append(f"{skipped} {'step was' if skipped == 1 else 'steps were'} skipped (--on-nonfinite)")
    if torn:
        notes.append("the last line of metrics.jsonl is torn, and left out")
    return notes


def read_run(folder: Path, name: str) -> Run:
    require_a_run(folder)
    config = read_config(folder / "config.toml")
    lines, torn = read_metrics(folder / "metrics.jsonl")
    summary = read_summary(folder / "summary.json")
    steps = [line for line in lines if "loss" in line]
    evaluations = [line for line in lines if "network" in line]
    run = Run(folder, name, config, steps, evaluations, summary)
    # A run that was started again with more epochs still has the summary of the fewer ones.
    if summary and summary["steps"] < run.last_step:
        run.summary = None
    run.notes = notes_of(run, torn, summary)
    return run


def names_of(folders: list[Path]) -> list[str]:
    """As much of each path's end as tells it from the others."""
    paths = [folder.resolve() for folder in folders]
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise Refused("a run was named twice")


def read_runs(folders: list[Path]) -> list[Run]:
    """Raises Refused."""
    names = names_of(folders)
    return [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
