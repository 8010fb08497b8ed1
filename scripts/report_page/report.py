"""From run directories to a folder with a page and its plots."""

from pathlib import Path

from report_page import curve_plots, layer_plots, plot
from report_page.groups import Group, groups_of
from report_page.layers import NoPlan, Plan, plan_of
from report_page.page import Content, page
from report_page.runs import read_runs
from report_page.step_plot import step_plot


def ask_for_plans(groups: list[Group]) -> tuple[list[Plan], list[str]]:
    """And why some have none, each reason once."""
    plans, reasons = [], []
    for group in groups:
        try:
            plans.append(plan_of(group))
        except NoPlan as reason:
            reasons.append(str(reason))
    return plans, list(dict.fromkeys(reasons))


def plots_of_layers(plans: list[Plan], groups: list[Group]) -> list[list[plot.Plot]]:
    """A list for each network."""
    names = {cost: f"layers-{cost.name.replace('_', '-')}" for cost in layer_plots.COSTS}
    ends = ["" if number == 1 else f"-{number}" for number in range(1, len(plans) + 1)]
    return [
        [layer_plots.layer_plot(name + end, cost, alike, groups) for cost, name in names.items()]
        for end, alike in zip(ends, layer_plots.networks_of(plans), strict=False)
    ]


def content_of(folders: list[Path]) -> Content:
    """Raises Refused."""
    groups = groups_of(read_runs(folders))
    runs = [run for group in groups for run in group.runs]
    plans, reasons = ask_for_plans(groups)
    return Content(
        runs=runs,
        groups=groups,
        accuracy=curve_plots.accuracy_plots(groups),
        loss=curve_plots.loss_plots(groups),
        step=step_plot(runs),
        plans=plans,
        no_plans=reasons,
        layers=plots_of_layers(plans, groups),
    )


def make_report(folders: list[Path], out: Path) -> Path:
    """Writes into `out` once all is read, and says where the page is. Raises Refused, and OSError."""
    with plot.style():
        content = content_of(folders)
        text = page(content)
        out.mkdir(parents=True, exist_ok=True)
        for each in content.plots:
            each.save(out)
    file = out / "index.html"
    file.write_text(text, encoding="utf-8")
    return file
