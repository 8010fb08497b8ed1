"""Accuracy and loss, over whatever a run has spent."""

import math
from collections.abc import Callable
from typing import NamedTuple

from matplotlib.axes import Axes

from report_page.groups import Group, Place, curve, points, thinned
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
# Each is taken where an axis is at least five times as long.
Units = tuple[tuple[float, str], ...]
SECONDS: Units = ((3600, "h"), (60, "min"), (1, "s"))
BYTES: Units = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
# From here on a linear axis would hide the smaller ones.
WIDE_RANGE = 5
MOST_POINTS = 600  # more than a plot has dots to show them, and a page of megabytes


class Measure(NamedTuple):
    """What a curve is drawn against."""

    name: str
    title: str
    of: Callable[[Spent], float | None]
    units: Units = ()
    is_logarithmic: bool = False  # where curves end at very different places


MEASURES = (
    Measure("time", "time in steps", lambda spent: spent.seconds, SECONDS),
    Measure("epochs", "epochs", lambda spent: spent.epochs),
    Measure("bytes", "sent by a worker", lambda spent: spent.wire_bytes, BYTES, is_logarithmic=True),
)


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


class Drawn(NamedTuple):
    index: int  # of the group
    label: str
    line: Line
    places: list[Place]

    @property
    def end(self) -> float:
        return self.places[-1].x


def drawn_lines(
    groups: list[Group], against: Measure, lines_of: Callable[[Group], list[Line]]
) -> list[Drawn]:
    """Those that have a point."""
    drawn = []
    for index, group in enumerate(groups):
        for line in lines_of(group):
            of_runs = [points(run, line.lines_of(run), line.figure, against.of) for run in group.runs]
            if places := thinned(curve(of_runs), MOST_POINTS):
                drawn.append(Drawn(index, group.label + line.suffix, line, places))
    return drawn


def draw_line(axes: Axes, drawn: Drawn, unit: float) -> None:
    colour, places = colour_of_group(drawn.index), drawn.places
    xs = [place.x / unit for place in places]
    look = {"marker": marker_of_group(drawn.index), "markersize": 4, "markevery": math.ceil(len(places) / 15)}
    if drawn.line.is_thin:
        look = {"marker": "." if len(places) == 1 else "", "linewidth": 0.9, "alpha": 0.75}
    medians = [place.median for place in places]
    axes.plot(xs, medians, drawn.line.style, color=colour, label=drawn.label, **look)
    if any(place.low < place.high for place in places):
        band = [[getattr(place, side) for place in places] for side in ("low", "high")]
        axes.fill_between(xs, *band, color=colour, alpha=0.2, linewidth=0)


def lay_out_below(axes: Axes, against: Measure, ends: list[float]) -> float:
    """The axis of what curves are drawn against, and the size of its unit."""
    unit, name = 1.0, ""
    if against.units:
        unit, name = next((each for each in against.units if max(ends) >= 5 * each[0]), against.units[-1])
        name = f", {name}"
    if against.is_logarithmic and max(ends) > WIDE_RANGE * max(min(ends), 1):
        logarithmic(axes.xaxis)
        name += ", logarithmic"
    else:
        axes.set_xlim(0, 1.03 * max(ends) / unit)
    axes.set_xlabel(against.title + name)
    return unit


def draw_curves(
    name: str,
    title: str,
    y_title: str,
    groups: list[Group],
    against: Measure,
    lines_of: Callable[[Group], list[Line]],
) -> Plot:
    """What `lines_of` a group says."""
    drawn = drawn_lines(groups, against, lines_of)
    columns = columns_for([each.label for each in drawn], 56)
    figure, axes = new_figure(4.2, 3.1 + 0.18 * math.ceil(len(drawn) / columns))
    if drawn:
        unit = lay_out_below(axes, against, [each.end for each in drawn])
        for each in drawn:
            draw_line(axes, each, unit)
    else:
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
