"""What all plots have in common: how they look, and how they become files and parts of a page. A group of
runs has the same colour, marker and name in all of them."""

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito's colours that are seen on white and on black.
GROUP_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
MARKERS = "osD^vP*X"
# Stands for the colour of text; in the page that is the reader's.
INK = "#1b1f23"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "slicereduce",  # the same runs, the same file
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#8C8C8C",
    "grid.alpha": 0.3,
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


@dataclass
class Plot:
    """A figure, and what its files are called."""

    name: str
    title: str
    figure: Figure
    is_wide: bool = False

    def save(self, folder: Path) -> None:
        self.figure.savefig(folder / f"{self.name}.svg", metadata={"Date": None})
        self.figure.savefig(folder / f"{self.name}.png", dpi=150)

    def inline(self) -> str:
        """As an element of a page: text in the colour of the page's, and names that no other plot has."""
        out = io.StringIO()
        self.figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
        svg = re.sub(r"<metadata>.*?</metadata>", "", out.getvalue(), flags=re.DOTALL)
        svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
        svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", svg)
        return re.sub(r' width="[^"]*pt"| height="[^"]*pt"', "", svg, count=2)


def style() -> contextlib.AbstractContextManager[None]:
    """In which figures are made and saved: matplotlib reads its settings at both times."""
    return mpl.rc_context(STYLE)


def colour_of_group(index: int) -> str:
    return GROUP_COLOURS[index % len(GROUP_COLOURS)]


def marker_of_group(index: int) -> str:
    return MARKERS[index % len(MARKERS)]


def legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def columns_for(labels: list[str], characters: int) -> int:
    """How many entries of a legend stand side by side in a plot of that width."""
    longest = max(map(len, labels), default=1) + 6
    return max(1, min(len(labels), characters // longest))


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def logarithmic(axis: Axis) -> None:
    """With plain numbers: 0.5, not 5 times ten to the -1."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())
