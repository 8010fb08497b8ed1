"""Which channels of a site samplers keep over some steps."""

import math
import random

from .svg import LEFT_OUT, QUIET, WEIGHTS, Drawing

CHANNELS = 16
RATIO = 0.5
MINIMAL_K = 4
STEPS = 8
SIDE = 22


def kept(channels: int, ratio: float, minimal_k: int) -> int:
    return min(max(int(channels * ratio), minimal_k), channels)


def norms() -> list[float]:
    numbers = random.Random(7)
    return [round(0.25 + numbers.random() ** 1.5, 3) for _ in range(CHANNELS)]


def largest(scores: list[float], k: int) -> set[int]:
    """Ties go to the lower index."""
    return set(sorted(range(len(scores)), key=lambda c: (-scores[c], c))[:k])


def topk(of: list[float], k: int, steps: int) -> list[set[int]]:
    return [largest(of, k)] * steps


def gumbel(of: list[float], k: int, steps: int) -> list[set[int]]:
    """The k largest of log p + Gumbel noise, p 0.9 of the norm's share and 0.1 of the uniform one."""
    numbers = random.Random(1)
    p = [0.9 * norm / sum(of) + 0.1 / len(of) for norm in of]
    return [
        largest([math.log(each) - math.log(-math.log(numbers.random())) for each in p], k)
        for _ in range(steps)
    ]


def cyclic(of: list[float], k: int, steps: int) -> list[set[int]]:
    waited, plans = [0.0] * len(of), []
    for _ in range(steps):
        plans.append(largest(waited, k))
        waited = [0 if c in plans[-1] else waited[c] + 1 for c in range(len(of))]
    return plans


def draw() -> str:
    of = norms()
    k = kept(CHANNELS, RATIO, MINIMAL_K)
    drawing = Drawing(
        f"From the norms of {CHANNELS} channels to the {k} that each step keeps, by three samplers", 960, 560
    )
    left, width = 190, SIDE * 2
    drawing.text(left - 16, 118, "norm of the", anchor="end")
    drawing.text(left - 16, 140, "weights that", anchor="end")
    drawing.text(left - 16, 162, "read a channel", anchor="end")
    for c, norm in enumerate(of):
        height = 120 * norm / max(of)
        in_plan = c in largest(of, k)
        drawing.box(left + c * width + 4, 170 - height, width - 8, height, WEIGHTS if in_plan else LEFT_OUT)
        drawing.text(left + c * width + width / 2, 190, str(c), "small", "middle", QUIET)
    for row, (name, said, plans) in enumerate(
        (
            ("topk", "the largest", topk(of, k, STEPS)),
            ("gumbel", "large ones often", gumbel(of, k, STEPS)),
            ("cyclic", "all in turn", cyclic(of, k, STEPS)),
        )
    ):
        y = 212 + row * 106
        drawing.text(left - 16, y + 36, name, "head", "end")
        drawing.text(left - 16, y + 60, said, "small", "end", QUIET)
        for step, plan in enumerate(plans):
            for c in range(CHANNELS):
                colour = WEIGHTS if c in plan else LEFT_OUT
                drawing.box(left + c * width + 4, y + step * 11.5, width - 8, 10, colour)
        for step, said in ((1, "step 1" if row == 0 else "1"), (STEPS, str(STEPS))):
            drawing.text(left + CHANNELS * width + 8, y + step * 11.5 - 1, said, "small", fill=QUIET)
    drawing.text(
        24,
        542,
        f"Ratio 0.5: each step keeps {k} of {CHANNELS} channels, the same on every rank.",
        "small",
        fill=QUIET,
    )
    return drawing.svg()
