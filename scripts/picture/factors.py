"""A gradient matrix as two factors, and the order in which those of several buckets travel. Times are
declared here; who waits for what is computed as comm/low_rank_reducer.cpp has it."""

from typing import NamedTuple

from picture.queueing import Processor, Span, Wire
from picture.svg import GREY, WEIGHTS, WEIGHTS_DARK, WIRE, WIRE_IDLE, Drawing

ROWS, INPUTS, TAPS = 128, 64, 9  # of a 3x3 convolution
COLUMNS = INPUTS * TAPS
RANK = 16

LAYERS = (3, 3, 3)  # by bucket
LAYER = 8.0  # its backward, and P = M Q of it
ALLREDUCE = 9.0
RIGHT_FACTORS = 4.0  # P made orthonormal and Q = M^T P, for a bucket
UPDATE = 6.0


class Step(NamedTuple):
    processor: Processor
    wire: Wire


def step() -> Step:
    """What is ready goes out when a layer is done, or in the wait behind backward, in an order that does not
    depend on times: a bucket's Q behind the next bucket's P."""
    processor, wire = Processor(), Wire()
    order = [("P", 0)]
    for bucket in range(len(LAYERS)):
        order += [("P", bucket + 1)] if bucket + 1 < len(LAYERS) else []
        order += [("Q", bucket)]
    back: dict[tuple[str, int], float] = {}
    full: set[int] = set()

    def advance() -> None:
        while order:
            factor, bucket = order[0]
            if factor == "P" and bucket not in full:
                return
            if factor == "Q":
                if back["P", bucket] > processor.now:
                    return
                processor.work(f"Q{bucket}", RIGHT_FACTORS)
            back[order.pop(0)] = wire.send(f"{factor}{bucket}", processor.now, ALLREDUCE).end

    for bucket, layers in enumerate(LAYERS):
        for layer in range(layers):
            processor.work("backward", LAYER)
            if layer == layers - 1:
                full.add(bucket)
            advance()
    for bucket in range(len(LAYERS)):
        advance()
        while back.get(("Q", bucket), float("inf")) > processor.now:
            awaited = [
                back[key] for key in (("Q", bucket), ("P", order[0][1] if order else bucket)) if key in back
            ]
            processor.wait_until(min(time for time in awaited if time > processor.now))
            advance()
        processor.work(f"SGD {bucket}", UPDATE)
    return Step(processor, wire)


LEFT, RIGHT = 112, 824
BAR = 32
UNIT = 0.5  # pixels of a row or column
MATRIX, TOP = 132, 92


def sizes() -> tuple[int, int]:
    """Numbers of the matrix, and of its factors."""
    return ROWS * COLUMNS, RANK * (ROWS + COLUMNS)


def draw_matrices(drawing: Drawing) -> None:
    height, width, thin = ROWS * UNIT, COLUMNS * UNIT, RANK * UNIT
    middle, below = TOP + height / 2, TOP + height + 24
    left = MATRIX + width + 56
    right = left + thin + 50
    drawing.text(30, 36, f"The gradient of a 3x3 convolution, {INPUTS} to {ROWS} channels, to scale", "head")
    drawing.rect(MATRIX, TOP, width, height, WIRE_IDLE)
    drawing.rect(left, TOP, thin, height, WIRE)
    drawing.rect(right, TOP, width, thin, WIRE)
    drawing.text(MATRIX + width / 2, middle + 5, "M", "head mid")
    drawing.text((MATRIX + width + left) / 2, middle + 6, "≈", "head mid")
    drawing.text((left + thin + right) / 2, middle + 6, "\N{MULTIPLICATION SIGN}", "head mid")
    drawing.text(MATRIX - 12, middle + 5, f"n = {ROWS}", "small end")
    drawing.text(MATRIX + width / 2, TOP - 10, f"m = {INPUTS} · {TAPS} = {COLUMNS}", "small mid")
    drawing.text(left + thin / 2, TOP - 10, f"r = {RANK}", "small mid")
    drawing.text(left + thin + 8, TOP + 14, "P", "head")
    drawing.text(right + width / 2, TOP + thin + 20, "Qᵀ", "head mid")
    of_matrix, of_factors = sizes()
    drawing.text(MATRIX + width / 2, below, f"n m = {of_matrix:,} numbers", "mid")
    share = f"{100 * of_factors / of_matrix:.0f} %"
    drawing.text(left, below, f"r (n + m) = {of_factors:,} numbers, {share}, are sent")


def draw_step(drawing: Drawing, top: float) -> None:
    this = step()
    processor, wire = top + 58, top + 58 + BAR + 30

    def x(time: float) -> float:
        return LEFT + (RIGHT - LEFT) * time / this.processor.now

    def bar(span: Span, at: float, fill: str, words: str) -> None:
        drawing.block(x(span.start), at, x(span.end) - x(span.start) - 1.5, BAR, fill, words)

    drawing.text(30, top, "Three buckets in a step: P when the bucket is full, Q once P is back", "head")
    drawing.text(LEFT - 14, processor + 21, "processor", "end")
    drawing.text(LEFT - 14, wire + 21, "wire", "end")
    layers = [span for span in this.processor.spans if span.name == "backward"]
    for number, span in enumerate(layers):
        bar(span, processor, WEIGHTS_DARK, f"{len(layers) - number}")
    for bucket, count in enumerate(LAYERS):
        own = layers[sum(LAYERS[:bucket]) :][:count]
        begin, end = x(own[0].start), x(own[-1].end) - 1.5
        drawing.bracket(begin, end, processor - 5, -7)
        drawing.text((begin + end) / 2, processor - 19, f"backward: bucket {bucket}", "small mid")
    computed = {}
    for span in this.processor.spans:
        if span.name.startswith("Q"):
            bar(span, processor, WEIGHTS, span.name)
            computed[span.name] = span.end
        elif span.name.startswith("SGD"):
            bar(span, processor, GREY, "SGD")
    for bucket, count in enumerate(LAYERS):
        computed[f"P{bucket}"] = layers[sum(LAYERS[:bucket]) + count - 1].end
    for sent in this.wire.spans:
        bar(sent, wire, WIRE, sent.name)
        ready, turn, turning = x(computed[sent.name]) - 3, x(sent.start) + 3, processor + BAR + 11
        points = ((ready, processor + BAR), (ready, turning), (turn, turning), (turn, wire - 1))
        drawing.line("arrow thin", *points)
    drawing.texts(
        LEFT,
        wire + BAR + 28,
        (
            "Schematic. Order on all ranks: " + ", ".join(span.name for span in this.wire.spans) + ".",
            "Backward does not wait for a P: its Q is computed in between later layers.",
        ),
        "small",
    )


def draw() -> str:
    of_matrix, of_factors = sizes()
    drawing = Drawing(
        f"A gradient matrix of {of_matrix:,} numbers is sent as two thin factors of {of_factors:,}; P of a"
        " bucket is reduced when the bucket is full, and its Q behind the P of the next one",
        860,
        472,
    )
    draw_matrices(drawing)
    drawing.line("rule", (30, 212), (830, 212))
    draw_step(drawing, 246)
    return drawing.svg()
