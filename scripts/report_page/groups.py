"""Runs side by side: what their options differ in, which of them are one configuration with several seeds,
and the curves of these."""

import itertools
import math
import re
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from report_page.runs import Run, Spent

# What tells runs of one configuration apart.
OF_A_RUN_ALONE = {"run-dir", "seed"}


class Point(NamedTuple):
    step: int
    x: float | None
    y: float | None


class Place(NamedTuple):
    """Of a curve: the median of the runs, and the least and the most of them."""

    x: float
    median: float
    low: float
    high: float


@dataclass(eq=False)
class Group:
    label: str
    runs: list[Run]

    @property
    def networks(self) -> list[str]:
        return [name for name in ("sampled", "dense") if any(name in run.networks for run in self.runs)]


def described(run: Run) -> dict[str, str]:
    """Its options, and how many workers it had, which is no option."""
    known = {} if run.world_size is None else {"world size": str(run.world_size)}
    return {name: value for name, value in run.config.items() if name != "run-dir"} | known


def differing(runs: list[Run]) -> list[str]:
    """The options that are not the same for all."""
    descriptions = [described(run) for run in runs]
    names = sorted(set().union(*descriptions))
    # A run that is not complete does not tell its world size: that is no difference.
    return [
        name
        for name in names
        if len({each.get(name) for each in descriptions if name in each or name != "world size"}) > 1
    ]


def shared(runs: list[Run]) -> dict[str, str]:
    different = set(differing(runs))
    return {name: value for name, value in sorted(described(runs[0]).items()) if name not in different}


def configuration(run: Run) -> tuple:
    return tuple(sorted((name, value) for name, value in run.config.items() if name not in OF_A_RUN_ALONE))


def by_world_size(runs: list[Run]) -> list[list[Run]]:
    """A run that does not tell its number of workers belongs to the others, if these agree."""
    sizes = {run.world_size for run in runs} - {None}
    if len(sizes) <= 1:
        return [runs]
    return [
        [run for run in runs if run.world_size == size]
        for size in dict.fromkeys(run.world_size for run in runs)
    ]


def shortened(name: str, length: int = 36) -> str:
    """Without its middle, where it is longer than that."""
    half = (length - 1) // 2
    return name if len(name) <= length else f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"


def several(runs: list[Run]) -> str:
    seeds = {run.config.get("seed") for run in runs}
    return f"{len(runs)} {'seeds' if len(seeds) == len(runs) else 'runs'}"


def common_beginning(names: list[str]) -> str:
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in alike)


def name_of(runs: list[Run]) -> str:
    """A run's name, or what the names of several begin with: dense-1 and dense-2 are dense."""
    if len(runs) == 1:
        return runs[0].name
    begin = common_beginning([run.name for run in runs]).rstrip("0123456789")
    return re.sub(r"([-_./ ]*\bs(eed)?)?[-_./ ]*$", "", begin) or runs[0].name


def labelled(parts: list[list[Run]]) -> list[Group]:
    """By names as short as tells them apart; what several runs have in common may not."""
    names = [name_of(runs) for runs in parts]
    names = [
        name if names.count(name) == 1 else runs[0].name for name, runs in zip(names, parts, strict=True)
    ]
    short = [shortened(name) for name in names]
    if len(set(short)) == len(short):
        names = short
    ends = [f", {several(runs)}" if len(runs) > 1 else "" for runs in parts]
    return [Group(name + end, runs) for name, end, runs in zip(names, ends, parts, strict=True)]


def groups_of(runs: list[Run]) -> list[Group]:
    """In the order in which they were named."""
    alike: dict[tuple, list[Run]] = {}
    for run in runs:
        alike.setdefault(configuration(run), []).append(run)
    return labelled([part for same in alike.values() for part in by_world_size(same)])


def curve(points_of_runs: Iterable[list[Point]]) -> list[Place]:
    """At the steps that all of the runs have, but for runs without any. Not a number where one has no
    value, which is a gap."""
    by_step = [{point.step: point for point in points} for points in points_of_runs if points]
    if not by_step:
        return []
    places = []
    for step in sorted(set.intersection(*(set(points) for points in by_step))):
        here = [points[step] for points in by_step]
        if any(point.x is None for point in here):
            continue
        ys = [point.y for point in here]
        known = [math.nan] if None in ys else ys
        x = statistics.median(point.x for point in here)
        places.append(Place(x, statistics.median(known), min(known), max(known)))
    return places


def thinned(places: list[Place], most: int) -> list[Place]:
    """At most so many: means of neighbours. A gap goes on where it is all that they have."""
    together = max(1, math.ceil(len(places) / most))
    thin = []
    for begin in range(0, len(places), together):
        near = places[begin : begin + together]
        known = [place for place in near if not math.isnan(place.median)] or near
        thin.append(Place(*(statistics.fmean(values) for values in zip(*known, strict=True))))
    return thin


def points(run: Run, lines: list[dict], figure: str, axis: Callable[[Spent], float | None]) -> list[Point]:
    return [Point(line["step"], axis(run.spent(line["step"])), line.get(figure)) for line in lines]


def span(values: Iterable[float | None]) -> tuple[float, float, float] | None:
    """Median, least and most of those that are known."""
    known = [value for value in values if value is not None]
    return (statistics.median(known), min(known), max(known)) if known else None
