"""From norms to the channels that steps keep, by three samplers."""

from random import Random

from picture import choices
from picture.svg import LEFT_OUT, WEIGHTS, Drawing

CHANNELS = 32
RATIO = 0.25
MINIMAL_K = 8
STEPS = 8
SEED = 4


def norms() -> list[float]:
    """Few large ones and many small ones."""
    random = Random(SEED)
    return [0.12 + 0.88 * random.random() ** 2.2 for _ in range(CHANNELS)]


def size() -> int:
    return choices.kept_count(CHANNELS, RATIO, MINIMAL_K)


def plans() -> dict[str, list[list[int]]]:
    """By sampler: what each step keeps. Norms stay: in so few steps they hardly move."""
    random = Random(SEED + 1)
    waiting = [0] * CHANNELS
    by_turns = []
    for _ in range(STEPS):
        by_turns.append(choices.cyclic(waiting, size()))
        waiting = choices.count_draw(by_turns[-1], waiting)
    return {
        "topk": [choices.topk(norms(), size()) for _ in range(STEPS)],
        "gumbel": [choices.gumbel(norms(), size(), random) for _ in range(STEPS)],
        "cyclic": by_turns,
    }


NOTES = {
    "topk": ("the largest norms,", "the same at each step:", "the choice settles"),
    "gumbel": ("drawn: large norms", "are kept more often,", "all can be"),
    "cyclic": ("all in turn, once", f"in C / k = {CHANNELS // size()} steps"),
}
LEFT, CELL, ROW = 128, 16, 11
RIGHT = LEFT + CHANNELS * CELL + 22
BASE, TALLEST = 158, 88


def draw_norms(drawing: Drawing) -> None:
    kept = choices.topk(norms(), size())
    for channel, norm in enumerate(norms()):
        height = norm / max(norms()) * TALLEST
        fill = WEIGHTS if channel in kept else LEFT_OUT
        drawing.rect(LEFT + channel * CELL, BASE - height, CELL - 2, height, fill)
    least = BASE - min(norms()[channel] for channel in kept) / max(norms()) * TALLEST
    drawing.line("dashes", (LEFT - 8, least), (RIGHT - 10, least))
    drawing.text(LEFT - 18, BASE - 46, "norm of all", "small end")
    drawing.text(LEFT - 18, BASE - 28, "weights that", "small end")
    drawing.text(LEFT - 18, BASE - 10, "read it", "small end")
    drawing.texts(RIGHT, least - 6, (f"the {size()} largest",), "small")


def draw() -> str:
    drawing = Drawing(
        f"The norms of a site's {CHANNELS} channels, and the {size()} channels that the samplers topk, gumbel"
        f" and cyclic keep in each of {STEPS} steps",
        860,
        516,
    )
    drawing.text(LEFT, 38, f"A site with C = {CHANNELS} channels, ratio {RATIO}", "head")
    formula = (
        f"k = min(max(int({CHANNELS} \N{MULTIPLICATION SIGN} {RATIO}), {MINIMAL_K}), {CHANNELS}) = {size()}"
    )
    drawing.text(828, 38, formula, "code end")
    draw_norms(drawing)
    top = BASE + 34
    for name, steps in plans().items():
        rows = [[WEIGHTS if c in kept else LEFT_OUT for c in range(CHANNELS)] for kept in steps]
        drawing.cells(LEFT, top, CELL, ROW, rows, gap=2)
        drawing.text(LEFT - 28, top + 14, name, "head end")
        drawing.line("arrow", (LEFT - 12, top), (LEFT - 12, top + STEPS * ROW))
        drawing.text(LEFT - 28, top + STEPS * ROW - 4, "steps", "small end")
        drawing.texts(RIGHT, top + 12, NOTES[name], "small")
        ever = len({channel for kept in steps for channel in kept})
        drawing.text(RIGHT, top + STEPS * ROW - 5, f"{ever} of {CHANNELS} trained")
        top += STEPS * ROW + 20
    return drawing.svg()
