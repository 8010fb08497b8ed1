"""Draws curves, a line for each contender: accuracy over training time, its mean over seeds, and a band from
worst to best; or predicted step time over the number of workers."""

import statistics
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "slicereduce"  # the same curves, the same file
from matplotlib import pyplot as plt  # noqa: E402 (the backend has to be chosen first)


def epochs_of(runs: list[dict]) -> list[tuple[float, list[float]]]:
    """After each epoch: mean seconds, and each seed's percent."""
    return [
        (statistics.mean(second for second, _ in points), [percent for _, percent in points])
        for points in zip(*(run["curve"] for run in runs), strict=True)
    ]


def draw(path: Path, results: dict[str, list[dict]], title: str) -> None:
    figure, axes = plt.subplots(figsize=(9, 5.5))
    for name, runs in results.items():
        epochs = epochs_of(runs)
        seconds = [second for second, _ in epochs]
        style = "-" if name.startswith("slicereduce") else "--"
        (line,) = axes.plot(seconds, [statistics.mean(top1) for _, top1 in epochs], style, label=name)
        worst, best = zip(*((min(top1), max(top1)) for _, top1 in epochs), strict=True)
        axes.fill_between(seconds, worst, best, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="seconds of training", ylabel="top-1, %", title=title, xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize="small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def draw_costs(
    path: Path, points: dict[str, tuple[float, list[float]]], frontier: list[tuple[float, float]], title: str
) -> None:
    """`points`: of each row its time, as a share of plain training's, and each seed's percent; `frontier`:
    those of plain training, longer and shorter, as the line that a row has to be above."""
    figure, axes = plt.subplots(figsize=(9, 5.5))
    if frontier:
        times, percent = zip(*frontier, strict=True)
        axes.plot(times, percent, "--", color="gray", label="dense, longer and shorter")
    for index, (name, (taken, top1)) in enumerate(points.items()):
        mean = statistics.mean(top1)
        spread = [[mean - min(top1)], [max(top1) - mean]]
        axes.errorbar(taken, mean, yerr=spread, fmt="osv^DP*X"[index // 10], label=name, capsize=2)
    axes.set(xlabel="time, as a share of dense training's", ylabel="top-1, %", title=title, xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def draw_predictions(path: Path, curves: dict[str, dict[int, float]], title: str) -> None:
    """`curves`: of each contender a step's milliseconds by number of workers."""
    figure, axes = plt.subplots(figsize=(11, 5.5))
    for name, steps in curves.items():
        style = "-" if name.startswith("slicereduce") else "--"
        axes.plot(list(steps), list(steps.values()), style, marker="o", markersize=4, label=name)
    workers = sorted({number for steps in curves.values() for number in steps})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(workers, [f"{number:,}" for number in workers])
    # Several numbers in each tenfold, and 1,000, not 10 to the third.
    axes.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=range(1, 10), numticks=99))
    axes.yaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axes.set(xlabel="workers", ylabel="predicted step, ms", title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
