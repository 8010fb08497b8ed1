"""Writes what was read and drawn as one page, that refers to nothing outside of it."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from report_page import quantities as q
from report_page.elements import (
    Cell,
    Row,
    breakable,
    bullets,
    figure,
    figures,
    folded,
    folded_if_long,
    key,
    number,
    paragraph,
    row,
    table,
    text,
)
from report_page.groups import Group, described, differing, shared, span
from report_page.layer_plots import COSTS, networks_of
from report_page.layers import Plan
from report_page.plot import Plot, colour_of_group
from report_page.runs import Run
from report_page.step_plot import PARTS, hidden_ms, part_of_step

MOST_OPTIONS_IN_A_ROW = 4  # more have a table of their own
NETWORK_NAMES = {"sampled": "sampled", "dense": "exact"}

ABOUT_RESULTS = (
    "Sent: what one worker hands to AllReduce; in a step: in the last one. Bytes saved: of all that a "
    "dense fp32 AllReduce would have sent in these steps. FLOPs: of all workers; saved: of the dense "
    "network's. A dash: the run's files do not say."
)
ABOUT_LOSS = (
    "In training: rank 0's images as they are trained on, with label smoothing, means over the steps of "
    "a line in metrics.jsonl (thin). Of the networks: the validation images."
)
ABOUT_STEPS = (
    "Rank 0's times, means over all steps of the run. Exposed: after backward nothing was left to do "
    "but wait. Hidden: an AllReduce was under way while backward went on, so it makes no step longer."
)
ABOUT_LAYERS = (
    "As slicereduce plan tells them for the options at the run's last step: bytes that a worker hands "
    "to AllReduce, and arithmetic of an image's forward pass. A step takes three times as much for each "
    "image."
)


class Content(NamedTuple):
    runs: list[Run]
    groups: list[Group]
    accuracy: list[Plot]
    loss: list[Plot]
    step: Plot
    plans: list[Plan]
    no_plans: list[str]  # why there is none
    layers: list[list[Plot]]  # of each network

    @property
    def plots(self) -> list[Plot]:
        return [*self.accuracy, *self.loss, self.step, *(plot for each in self.layers for plot in each)]


def colour_of(groups: list[Group], run: Run) -> str:
    index = next(place for place, group in enumerate(groups) if run in group.runs)
    return colour_of_group(index)


def named(groups: list[Group], run: Run) -> Cell:
    return Cell(breakable(run.name, key(colour_of(groups, run))), "text long")


def option(run: Run, name: str) -> str:
    return described(run).get(name) or q.MISSING


def options_of(run: Run, names: list[str]) -> Cell:
    codes = [f"<code>{html.escape(f'{name} = {option(run, name)}')}</code>" for name in names]
    return Cell(" ".join(codes) or q.MISSING, "text options")


def options_table(content: Content, names: list[str]) -> str:
    """A column for each group; where only its seeds differ, that is in the rows of its runs."""
    groups = content.groups
    rows = [row([text(name), *(text(option(group.runs[0], name)) for group in groups)]) for name in names]
    head = ["option that differs", *(group.label for group in groups)]
    return folded_if_long("Options that differ", head, rows, texts=len(head))


def network_top1(run: Run) -> dict[str, float]:
    """By network, of the last evaluation of each."""
    last = {network: run.evaluated(network)[-1].get("top1") for network in run.networks}
    return {network: top1 for network, top1 in last.items() if top1 is not None}


def top1_of(run: Run) -> float | None:
    """The run's result. Before its end it is not known which of two networks that will be."""
    if run.summary:
        return run.summary.get("top1")
    last = network_top1(run)
    return next(iter(last.values())) if len(last) == 1 else None


def top1_cell(run: Run) -> Cell:
    last = network_top1(run)
    apart = [f"{NETWORK_NAMES[network]} {q.percent(top1)}" for network, top1 in last.items()]
    asides = apart if len(apart) == 2 else []
    return number(q.percent(top1_of(run)), *asides, *([] if run.summary or not last else ["so far"]))


RESULTS = {
    "training, s": (lambda run: run.train_s, q.seconds),
    "images/s": (lambda run: run.images_per_s, q.whole),
    "sent in a step": (lambda run: run.last.get("wire_bytes"), q.size),
    "sent in all": (lambda run: run.total("wire_bytes"), q.size),
    "bytes saved": (lambda run: run.wire_saved, q.share),
    "FLOPs of a step": (lambda run: run.flops_per_step, q.flops),
    "FLOPs saved": (lambda run: run.flops_saved, q.share),
}


def run_row(content: Content, run: Run, names: list[str]) -> str:
    options = [options_of(run, names)] if len(content.runs) > 1 else []
    results = [number(show(of(run))) for of, show in RESULTS.values()]
    return row([named(content.groups, run), *options, top1_cell(run), *results])


def median_cell(values: list[float | None], show: Callable[[float | None], str]) -> Cell:
    spread = span(values)
    if spread is None:
        return number(q.MISSING)
    median, low, high = map(show, spread)
    return number(median, f"{low} to {high}" if low != high else "")


def group_row(group: Group, names: list[str], colour: str) -> str:
    """Medians, and what they are the medians of. A run that goes on has not taken its time yet, so it counts
    only where all do."""
    complete = [run for run in group.runs if run.summary] or group.runs
    few = f" of {len(complete)} complete" if len(complete) < len(group.runs) else ""
    name = f"{key(colour)}{html.escape(group.label)}<small>median{few}, least to most</small>"
    cells = [Cell(name, "text long"), options_of(group.runs[0], names)]
    cells.append(median_cell([top1_of(run) for run in complete], q.percent))
    for of, show in RESULTS.values():
        cells.append(median_cell([of(run) for run in complete], show))
    return row(cells, look="whole")


def group_rows(content: Content, group: Group, names: list[str]) -> list[str]:
    """`names` are the options to be told here, where a run of several adds what is its own."""
    if len(group.runs) == 1:
        return [run_row(content, group.runs[0], names)]
    own = differing(group.runs)
    common = [name for name in names if name not in own]
    first = group_row(group, common, colour_of(content.groups, group.runs[0]))
    return [first, *(run_row(content, run, own) for run in group.runs)]


def shared_options(runs: list[Run]) -> str:
    rows = [row([text(name), text(value)]) for name, value in shared(runs).items()]
    title = "Options of the run" if len(runs) == 1 else "Options that are the same for all"
    return folded(title, table(["option", "value"], rows, texts=2))


def overview(content: Content) -> str:
    names = differing(content.runs)
    are_few = len(names) <= MOST_OPTIONS_IN_A_ROW
    told = names if are_few else ["seed"]
    rows = [row for group in content.groups for row in group_rows(content, group, told)]
    texts = ["run", "options that differ"] if len(content.runs) > 1 else ["run"]
    parts = [
        table([*texts, "top-1, %", *RESULTS], rows, len(texts)),
        paragraph(ABOUT_RESULTS),
        bullets([f"{run.name}: {note}" for run in content.runs for note in run.notes]),
        "" if are_few else options_table(content, [name for name in names if name != "seed"]),
        shared_options(content.runs),
    ]
    return "\n".join(filter(None, parts))


def evaluation_cells(run: Run, line: dict) -> Row:
    spent = run.spent(line["step"])
    return [
        text(NETWORK_NAMES[line["network"]]),
        number(q.whole(line["step"])),
        number(q.decimal(spent.epochs, 2)),
        number(q.seconds(spent.seconds)),
        number(q.size(spent.wire_bytes)),
        *(number(q.percent(line.get(name))) for name in ("top1", "top5")),
        number(q.decimal(line.get("val_loss"), 4)),
    ]


def best_of(lines: list[dict]) -> float | None:
    spread = span(line.get("top1") for line in lines)
    return spread and spread[2]


EVALUATION_HEAD = ["run", "network", "step", "epochs", "time, s", "sent", "top-1, %", "top-5, %", "loss"]


def accuracy_section(content: Content) -> str:
    last, all_of_them = [], []
    for run in content.runs:
        name = named(content.groups, run)
        for network in run.networks:
            lines = run.evaluated(network)
            last.append(row([name, *evaluation_cells(run, lines[-1]), number(q.percent(best_of(lines)))]))
            all_of_them += [row([name, *evaluation_cells(run, line)]) for line in lines]
    if not last:
        return paragraph("No network was evaluated yet.")
    return "\n".join(
        (
            figures(content.accuracy),
            folded_if_long("Last evaluations", [*EVALUATION_HEAD, "best top-1, %"], last, texts=2),
            folded(
                f"Every evaluation ({len(all_of_them)} rows)", table(EVALUATION_HEAD, all_of_them, texts=2)
            ),
        )
    )


def last_loss(lines: list[dict], name: str) -> float | None:
    return lines[-1].get(name) if lines else None


def loss_section(content: Content) -> str:
    rows = []
    for run in content.runs:
        losses = [last_loss(run.step_lines, "loss")]
        losses += [last_loss(run.evaluated(network), "val_loss") for network in NETWORK_NAMES]
        numbers = [number(q.whole(run.last_step)), *(number(q.decimal(loss, 4)) for loss in losses)]
        rows.append(row([named(content.groups, run), *numbers]))
    head = ["run", "step", "last in training", "last of the sampled network", "last of the exact network"]
    return "\n".join(
        (
            paragraph(ABOUT_LOSS),
            figures(content.loss),
            folded_if_long("Last losses", head, rows),
        )
    )


def step_section(content: Content) -> str:
    rows = []
    for run in content.runs:
        parts = [part_of_step(run, names) for names, _ in PARTS.values()]
        figures_of_run = [*parts, run.mean("step_ms"), hidden_ms(run)]
        cells = [number(q.milliseconds(value)) for value in figures_of_run]
        rows.append(row([named(content.groups, run), *cells]))
    head = ["run", *(f"{name}, ms" for name in PARTS), "step, ms", "hidden AllReduce, ms"]
    return "\n".join(
        (
            paragraph(ABOUT_STEPS),
            figure(content.step),
            folded_if_long("Parts of a step", head, rows),
        )
    )


def cost_cells(layers: list[dict]) -> Row:
    """Of one layer, dense and in each plan."""
    cells = []
    for cost in COSTS:
        dense = layers[0][cost.dense]
        cells.append(number(cost.show(dense)))
        for value in (layer[cost.name] for layer in layers):
            cells.append(number(cost.show(value), q.share(value / dense) if dense else ""))
    return cells


def layer_tables(plans: list[Plan]) -> str:
    head = ["layer"]
    for cost in COSTS:
        names = [cost.dense_title, *(plan.group.label for plan in plans)]
        head += [f"{name}: {cost.title}" for name in names]
    total = row([text("all"), *cost_cells([plan.total for plan in plans])], look="whole")
    each = [
        row([text(layers[0]["name"]), *cost_cells(list(layers))])
        for layers in zip(*(plan.layers for plan in plans), strict=True)
    ]
    return table(head, [total]) + folded_if_long("Layer by layer", head, each)


def compared(plan: Plan) -> str:
    """What was planned with what was measured, as a sentence."""
    planned = plan.total["wire_bytes"]
    measured = sorted({run.last["wire_bytes"] for run in plan.group.runs if run.last.get("wire_bytes")})
    if not measured:
        return f"{plan.group.label}: planned {planned:,} bytes a step; the run has not measured any."
    if measured == [planned]:
        return f"{plan.group.label}: planned {planned:,} bytes a step, and as many were sent in the last one."
    sent = " and ".join(f"{count:,}" for count in measured)
    return f"{plan.group.label}: planned {planned:,} bytes a step, but {sent} were sent in the last one."


def layers_section(content: Content) -> str:
    parts = [paragraph(ABOUT_LAYERS)]
    for plans, plots in zip(networks_of(content.plans), content.layers, strict=True):
        parts += [figure(plot) for plot in plots]
        parts += [bullets([compared(plan) for plan in plans]), layer_tables(plans)]
    return "\n".join([*parts, bullets(content.no_plans)])


SECTIONS = {
    "runs": ("Runs", overview),
    "accuracy": ("Accuracy", accuracy_section),
    "loss": ("Loss", loss_section),
    "step": ("Time of a step", step_section),
    "layers": ("Bytes and arithmetic by layer", layers_section),
}


def about_curves(content: Content) -> str:
    if all(len(group.runs) == 1 for group in content.groups):
        return ""
    return paragraph(
        "Runs that differ in nothing but their seed are one line: the median, in a band from the least to the"
        " most, as far as all of them have come."
    )


def page(content: Content) -> str:
    style = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
    count = len(content.runs)
    title = f"slicereduce: {content.runs[0].name}" if count == 1 else f"slicereduce: {count} runs"
    links = "".join(f'<a href="#{name}">{heading}</a>' for name, (heading, _) in SECTIONS.items())
    sections = "\n".join(
        f'<section id="{name}"><h2>{heading}</h2>\n{make(content)}\n</section>'
        for name, (heading, make) in SECTIONS.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<nav>{links}</nav>
{about_curves(content)}
{sections}
</body>
</html>
"""
