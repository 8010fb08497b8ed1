"""What a step's time consists of."""

import math

from report_page.groups import shortened
from report_page.plot import Plot, legend, new_figure
from report_page.runs import Run

HIDDEN_COLOUR = "#CC6677"
# Of a step, in order: what is summed, and its colour (Tol's muted ones).
PARTS = {
    "data": (("data_ms",), "#999999"),
    "plan + gather": (("plan_ms", "gather_ms"), "#DDCC77"),
    "forward": (("forward_ms",), "#88CCEE"),
    "backward": (("backward_ms",), "#4477AA"),
    "exposed communication": (("exposed_comm_ms",), "#CC6677"),
    "optimizer": (("optimizer_ms",), "#44AA99"),
}


def part_of_step(run: Run, names: tuple[str, ...]) -> float | None:
    values = [run.mean(name) for name in names]
    return None if None in values else math.fsum(values)


def hidden_ms(run: Run) -> float | None:
    """Of the AllReduces' time, what nothing waited for."""
    under_way, exposed = run.mean("comm_ms"), run.mean("exposed_comm_ms")
    return None if None in (under_way, exposed) else max(under_way - exposed, 0.0)


def step_plot(runs: list[Run]) -> Plot:
    """A bar of the parts that make a step, and below it what runs beside them."""
    figure, axes = new_figure(9, 1.3 + 0.48 * len(runs))
    places = range(len(runs))
    begin = [0.0] * len(runs)
    for label, (names, colour) in PARTS.items():
        widths = [part_of_step(run, names) or 0.0 for run in runs]
        axes.barh(places, widths, 0.5, begin, color=colour, label=label)
        begin = [left + width for left, width in zip(begin, widths, strict=True)]
    hidden = [hidden_ms(run) or 0.0 for run in runs]
    axes.barh(
        [place + 0.36 for place in places],
        hidden,
        0.16,
        color="none",
        edgecolor=HIDDEN_COLOUR,
        hatch="//////",
        linewidth=0.6,
        label="AllReduce hidden behind backward",
    )
    axes.set_yticks(places, [shortened(run.name, 28) for run in runs])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("mean of the steps, ms")
    legend(figure, axes, 4)
    return Plot("step", "Parts of a step", figure, is_wide=True)
