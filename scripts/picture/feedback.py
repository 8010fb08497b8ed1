"""What mode feedback sends and owes of one weight's slices, step by step."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from picture import choices
from picture.svg import GREY, LEFT_OUT, WIRE, Drawing

SLICES = 8
KEPT = 2
STEPS = 12
SEED = 5


class Step(NamedTuple):
    """One number stands for each slice."""

    gradient: list[int]
    before: list[int]  # owed, with this step's gradient
    sent: list[int]
    owed: list[int]  # to later steps


def norms() -> list[float]:
    random = Random(SEED)
    return [0.5 + 0.5 * random.random() for _ in range(SLICES)]


def steps() -> Iterator[Step]:
    """By the sampler aged, mode feedback's own: what has waited weighs more."""
    random = Random(SEED + 1)
    owed, waiting = [0] * SLICES, [0] * SLICES
    for _ in range(STEPS):
        gradient = [1 + int(3 * random.random()) for _ in range(SLICES)]
        before = [old + new for old, new in zip(owed, gradient, strict=True)]
        kept = choices.aged(norms(), waiting, KEPT)
        waiting = choices.count_draw(kept, waiting)
        owed = [0 if at in kept else amount for at, amount in enumerate(before)]
        yield Step(gradient, before, [a - b for a, b in zip(before, owed, strict=True)], owed)


LEFT, COLUMN, ROW = 150, 43, 33
RIGHT = LEFT + STEPS * COLUMN
TOP = 74
TALLEST = 96  # of the sums


def draw_slices(drawing: Drawing) -> None:
    most = max(amount for step in steps() for amount in step.before)
    for at in range(SLICES):
        base = TOP + (at + 1) * ROW - 4
        drawing.text(LEFT - 14, base - 4, f"slice {at}", "small end")
        for column, step in enumerate(steps()):
            height = step.before[at] / most * (ROW - 6)
            fill = WIRE if step.sent[at] else LEFT_OUT
            drawing.rect(LEFT + column * COLUMN, base - height, COLUMN - 5, height, fill)
        drawing.line("rule", (LEFT - 4, base), (RIGHT, base))


def draw_sums(drawing: Drawing, base: float) -> None:
    whole = sum(sum(step.gradient) for step in steps())
    total = sent = 0
    for column, step in enumerate(steps()):
        total += sum(step.gradient)
        sent += sum(step.sent)
        x, unit = LEFT + column * COLUMN, TALLEST / whole
        drawing.rect(x, base - sent * unit, COLUMN - 5, sent * unit, WIRE)
        drawing.rect(x, base - total * unit, COLUMN - 5, (total - sent) * unit, GREY)
        middle = x + (COLUMN - 5) / 2
        for line, words in enumerate((sent, sum(step.owed), total)):
            drawing.text(middle, base + 21 + line * 19, f"{words}", "mid" if line == 2 else "small mid")
    for line, words in enumerate(("sent so far", "+ still owed")):
        drawing.text(LEFT - 14, base + 21 + line * 19, words, "small end")
    drawing.text(LEFT - 14, base + 59, "= all gradients", "end")


def draw() -> str:
    drawing = Drawing(
        f"Of {SLICES} slices {KEPT} are sent at each of {STEPS} steps; the others grow until they have their"
        " turn, and what is sent and what is owed is always the sum of all gradients",
        860,
        524,
    )
    drawing.text(LEFT, 36, f"{STEPS} steps, {KEPT} of {SLICES} slices sent in each", "head")
    drawing.line("arrow", (LEFT, 56), (RIGHT - 5, 56))
    draw_slices(drawing)
    notes = RIGHT + 14
    drawing.key(notes, TOP + 34, WIRE, "sent, with all")
    drawing.text(notes + 21, TOP + 52, "that it was owed", "small")
    drawing.key(notes, TOP + 82, LEFT_OUT, "not sent: grows")
    drawing.text(notes + 21, TOP + 100, "by each gradient", "small")
    base = TOP + SLICES * ROW + TALLEST + 14
    draw_sums(drawing, base)
    drawing.key(notes, base - 50, GREY, "still owed")
    drawing.key(notes, base - 26, WIRE, "sent so far")
    return drawing.svg()
