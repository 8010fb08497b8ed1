"""Accuracy and loss, over whatever a run has spent."""

import math
from collections.abc import Callable
from typing import NamedTuple

from matplotlib.axes import Axes

from report_page.groups import Group, Place, curve, points
from report_page.plot import (
    Plot,
    colour_of_group,
    columns_for,
    legend,
    logarithmic,
    marker_of_group,
    new_figure,
)
from report_page.runs import Run, Spent

LOSS_TITLE = "cross entropy, logarithmic"
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
# From here on a linear axis would hide the smaller ones.
WIDE_RANGE = 5


class Measure(NamedTuple):
    """What a curve is drawn against."""

    name: str
    title: str
    of: Callable[[Spent], float | None]


TIME = Measure("time", "time in steps, s", lambda spent: spent.seconds)
EPOCHS = Measure("epochs", "epochs", lambda spent: spent.epochs)
WIRE = Measure("bytes", "sent by a worker", lambda spent: spent.wire_bytes)
MEASURES = (TIME, EPOCHS, WIRE)


class Line(NamedTuple):
    """Of a group, of one kind of lines of metrics.jsonl."""

    figure: str  # what is drawn of each line
    lines_of: Callable[[Run], list[dict]]
    suffix: str = ""  # of its name in the legend
    style: str = "-"
    is_thin: bool = False


def evaluations_of(network: str) -> Callable[[Run], list[dict]]:
    return lambda run: run.evaluated(network)


def of_networks(group: Group, figure: str) -> list[Line]:
    """A line for each network that was evaluated; they are told apart where there are two."""
    both = len(group.networks) == 2
    names = {"sampled": ", sampled network", "dense": ", exact network"} if both else {}
    styles = {"sampled": "-", "dense": "--"} if both else {}
    return [
        Line(figure, evaluations_of(network), names.get(network, ""), styles.get(network, "-"))
        for network in group.networks
    ]


def accuracy_lines(group: Group) -> list[Line]:
    return of_networks(group, "top1")


def loss_lines(group: Group) -> list[Line]:
    training = Line("loss", lambda run: run.step_lines, ", in training", is_thin=True)
    return [training, *of_networks(group, "val_loss")]


def unit_for(most: float) -> tuple[float, str]:
    return next((pair for pair in UNITS if most >= pair[0]), UNITS[-1])


def draw_line(axes: Axes, places: list[Place], label: str, index: int, line: Line) -> None:
    colour = colour_of_group(index)
    xs = [place.x for place in places]
    look = {"linewidth": 0.9, "alpha": 0.75} if line.is_thin else {"marker": marker_of_group(index)}
    if line.is_thin and len(places) == 1:
        look["marker"] = "."
    axes.plot(
        xs,
        [p.median for p in places],
        line.style,
        color=colour,
        label=label + line.suffix,
        markersize=4,
        **look,
    )
    if any(place.low < place.high for place in places):
        band = [[getattr(place, side) for place in places] for side in ("low", "high")]
        axes.fill_between(xs, *band, color=colour, alpha=0.2, linewidth=0)


def as_bytes(axes: Axes, ends: list[float], title: str) -> float:
    """The unit of an axis that reaches from 0 to the longest of `ends`, or is logarithmic."""
    unit, name = unit_for(max(ends, default=1))
    if ends and max(ends) > WIDE_RANGE * max(min(ends), 1):
        logarithmic(axes.xaxis)
        name += ", logarithmic"
    axes.set_xlabel(f"{title}, {name}")
    return unit


def draw_curves(
    name: str,
    title: str,
    y_title: str,
    groups: list[Group],
    against: Measure,
    lines_of: Callable[[Group], list[Line]],
) -> Plot:
    """What `lines_of` a group says, against what `axis` counts."""
    drawn = []
    for index, group in enumerate(groups):
        for line in lines_of(group):
            of_runs = [points(run, line.lines_of(run), line.figure, against.of) for run in group.runs]
            drawn.append((index, group.label, line, curve(of_runs)))
    drawn = [each for each in drawn if each[3]]
    labels = [label + line.suffix for _, label, line, _ in drawn]
    columns = columns_for(labels, 56)
    figure, axes = new_figure(4.2, 3.1 + 0.18 * math.ceil(len(labels) / columns))
    unit = 1.0
    if against is WIRE:
        unit = as_bytes(axes, [places[-1].x for *_, places in drawn], against.title)
    else:
        axes.set_xlabel(against.title)
    for index, label, line, places in drawn:
        scaled = [place._replace(x=place.x / unit) for place in places]
        draw_line(axes, scaled, label, index, line)
    if axes.get_xscale() == "linear" and drawn:
        axes.set_xlim(left=0)
    if not drawn:
        axes.text(0.5, 0.5, "nothing to draw yet", ha="center", transform=axes.transAxes)
    axes.set_ylabel(y_title)
    legend(figure, axes, columns)
    return Plot(name, title, figure)


def accuracy_plots(groups: list[Group]) -> list[Plot]:
    return [
        draw_curves(
            f"accuracy-{measure.name}",
            f"Top-1 by {measure.name}",
            "top-1, %",
            groups,
            measure,
            accuracy_lines,
        )
        for measure in MEASURES
    ]


def loss_plots(groups: list[Group]) -> list[Plot]:
    plots = [
        draw_curves(
            f"loss-{measure.name}", f"Loss by {measure.name}", LOSS_TITLE, groups, measure, loss_lines
        )
        for measure in MEASURES
    ]
    for plot in plots:
        # A first evaluation can be far off, and would flatten all that comes after it.
        logarithmic(plot.figure.axes[0].yaxis)
    return plots
