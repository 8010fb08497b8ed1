"""What each layer sends and computes, dense and as runs do it."""

import math
from collections.abc import Callable
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from report_page import quantities
from report_page.groups import Group
from report_page.layers import Plan
from report_page.plot import Plot, colour_of_group, columns_for, legend, marker_of_group, new_figure

DENSE_COLOUR = "#8C8C8C"


class Cost(NamedTuple):
    """Of a layer: what `plan` calls it, as it is and dense, and what people do."""

    name: str
    dense: str
    title: str
    dense_title: str
    show: Callable[[float | None], str]


COSTS = (
    Cost("wire_bytes", "dense_bytes", "sent in a step", "dense fp32", quantities.size),
    Cost("flops", "dense_flops", "FLOPs of an image", "dense", quantities.flops),
)


def tick_layers(axes: Axes, names: list[str]) -> None:
    """Not more names than can be read."""
    every = math.ceil(len(names) / 40)
    shown = range(0, len(names), every)
    axes.set_xticks(shown, [names[place] for place in shown], rotation=90, fontsize=7.5)
    axes.set_xlim(-0.7, len(names) - 0.3)


def layer_plot(name: str, cost: Cost, plans: list[Plan], groups: list[Group]) -> Plot:
    """Of each layer, dense and as each of `plans` has it. All are of one network."""
    drawing, axes = new_figure(9, 3.7 + 0.18 * math.ceil((1 + len(plans)) / 3))
    layers = plans[0].layers
    places = range(len(layers))
    dense = [layer[cost.dense] for layer in layers]
    width, height = min(11, 560 / len(layers)), min(4.5, max(2, 300 / len(layers)))
    # Not bars: a logarithmic axis has no zero for them to stand on.
    axes.plot(
        places, dense, "_", color=DENSE_COLOUR, markersize=width, markeredgewidth=3, label=cost.dense_title
    )
    for number, plan in enumerate(plans):
        index = groups.index(plan.group)
        colour, marker = colour_of_group(index), marker_of_group(index)
        values = [layer[cost.name] for layer in plan.layers]
        # Side by side, so that equal ones are seen.
        beside = (number + 0.5) / len(plans) - 0.5
        middles = [place + 0.6 * beside for place in places]
        axes.plot(middles, values, marker, color=colour, markersize=height, label=plan.group.label)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: cost.show(value)))
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(f"{cost.title}, logarithmic")
    tick_layers(axes, [layer["name"] for layer in layers])
    labels = [cost.dense_title, *(plan.group.label for plan in plans)]
    legend(drawing, axes, columns_for(labels, 140))
    return Plot(name, f"By layer: {cost.title}", drawing, is_wide=True)


def networks_of(plans: list[Plan]) -> list[list[Plan]]:
    alike: dict[tuple, list[Plan]] = {}
    for plan in plans:
        alike.setdefault(plan.network, []).append(plan)
    return list(alike.values())
