"""A step whose buckets are reduced during backward, and one that reduces a flat buffer after it. Times and
sizes are declared here, those of a network whose last layers hold most of the weights; who waits for what is
computed."""

from collections.abc import Callable
from typing import NamedTuple

from picture.queueing import Processor, Span, Wire, lay_out_buckets
from picture.svg import GREY, WEIGHTS, WEIGHTS_DARK, WIRE, WIRE_IDLE, Drawing

FORWARD = 24.0
# Of a layer's backward, and its gradient's megabytes, from the last layer to the first.
LAYER = 6.0
SIZES = (2.2, 7.5, 8.0, 4.5, 2.5, 2.0, 0.7, 0.5)
CAPACITY = 10.0
LATENCY, PER_MEGABYTE = 0.8, 1.9  # of an AllReduce
UPDATE_PER_MEGABYTE = 0.4


class Step(NamedTuple):
    processor: Processor
    wire: Wire
    filling: list[Span]  # a bucket, from its first layer's backward to its last one's end

    def end(self) -> float:
        return self.processor.now

    def exposed(self) -> float:
        return sum(wait.end - wait.start for wait in self.processor.idle())


def allreduce(size: float) -> float:
    return LATENCY + PER_MEGABYTE * size


def step(buckets: list[list[int]]) -> Step:
    """Buckets are updated in their order, each when it is back, but none before backward has ended."""
    processor, wire = Processor(), Wire()
    processor.work("forward", FORWARD)
    filling, back = [], []
    for at, layers in enumerate(buckets):
        done = [processor.work(str(len(SIZES) - layer), LAYER) for layer in layers]
        filling.append(Span(str(at + 1), done[0].start, done[-1].end))
        back.append(wire.send(str(at + 1), processor.now, allreduce(sum(SIZES[layer] for layer in layers))))
    for layers, sent in zip(buckets, back, strict=True):
        processor.wait_until(sent.end)
        processor.work(f"SGD {sent.name}", UPDATE_PER_MEGABYTE * sum(SIZES[layer] for layer in layers))
    return Step(processor, wire, filling)


def flat() -> Step:
    return step([list(range(len(SIZES)))])


def overlapped() -> Step:
    return step(lay_out_buckets(SIZES, CAPACITY))


LEFT, RIGHT = 112, 816
BAR = 32


def scale() -> Callable[[float], float]:
    whole = max(flat().end(), overlapped().end())
    return lambda time: LEFT + (RIGHT - LEFT) * time / whole


def bar(drawing: Drawing, span: Span, top: float, fill: str, words: str, look: str = "on") -> None:
    x = scale()
    width = max(x(span.end) - x(span.start) - 1.5, 2)
    drawing.block(x(span.start), top, width, BAR, fill, words, look)


def draw_processor(drawing: Drawing, top: float, this: Step, update: str) -> None:
    drawing.text(LEFT - 14, top + 21, "processor", "end")
    for span in this.processor.spans:
        if span.name == "forward":
            bar(drawing, span, top, WEIGHTS, "forward")
        elif span.name.startswith("SGD"):
            bar(drawing, span, top, GREY, update)
        else:
            bar(drawing, span, top, WEIGHTS_DARK, span.name)
    begin, end = (scale()(FORWARD + LAYER * layers) for layers in (0, len(SIZES)))
    drawing.text((begin + end) / 2, top - 8, "backward, from the last layer", "small mid")


def draw_end(drawing: Drawing, top: float, bottom: float, this: Step) -> None:
    drawing.line("dashes", (scale()(this.end()) + 1, top), (scale()(this.end()) + 1, bottom))


def draw_flat(drawing: Drawing, top: float) -> None:
    this, x = flat(), scale()
    drawing.text(
        30, top, "As published: one flat buffer, after backward. (DDP sends buckets, as below)", "head"
    )
    draw_processor(drawing, top + 42, this, "SGD")
    wire = top + 42 + BAR + 8
    drawing.text(LEFT - 14, wire + 21, "wire", "end")
    (sent,) = this.wire.spans
    bar(drawing, sent, wire, WIRE, "AllReduce of the whole gradient")
    drawing.bracket(x(sent.start), x(sent.end) - 1.5, wire + BAR + 5)
    drawing.text(x((sent.start + sent.end) / 2), wire + BAR + 29, "exposed: all of it", "small mid")
    draw_end(drawing, top + 34, wire + BAR + 12, this)


def draw_overlapped(drawing: Drawing, top: float) -> None:
    this, x = overlapped(), scale()
    drawing.text(30, top, "Here: a bucket goes on the wire as soon as it is full", "head")
    draw_processor(drawing, top + 42, this, "")
    drawing.text(x(this.wire.spans[-1].start) - 44, top + 34, "SGD, bucket by bucket", "small")
    buckets = top + 42 + BAR + 8
    wire = buckets + BAR + 24
    drawing.text(LEFT - 14, buckets + 21, "buckets fill", "end")
    drawing.text(LEFT - 14, wire + 21, "wire", "end")
    for filled, sent in zip(this.filling, this.wire.spans, strict=True):
        bar(drawing, filled, buckets, WIRE_IDLE, filled.name, look="")
        bar(drawing, sent, wire, WIRE, sent.name)
        full, turn = x(filled.end) - 2, x(sent.start) + 2
        turning = buckets + BAR + 9
        drawing.line("arrow thin", (full, buckets + BAR), (full, turning), (turn, turning), (turn, wire - 1))
    for wait in this.processor.idle():
        drawing.bracket(x(wait.start), x(wait.end) - 1.5, wire + BAR + 5)
    first = this.processor.idle()[0]
    drawing.text(x(first.start) - 8, wire + BAR + 15, "exposed: nothing else left to do", "small end")
    draw_end(drawing, top + 42, wire + BAR + 12, this)
    middle = buckets + BAR / 2
    drawing.line("arrow", (x(flat().end()), middle), (x(this.end()) + 7, middle))
    drawing.text(x((flat().end() + this.end()) / 2), middle - 9, "saved", "mid")
    draw_end(drawing, top + 42, wire + BAR + 12, flat())


def draw() -> str:
    drawing = Drawing(
        "Above, one flat buffer is reduced when backward has ended, and the processor waits for all of it."
        " Below, buckets are reduced while backward goes on, and only the rest is waited for",
        860,
        462,
    )
    draw_flat(drawing, 38)
    draw_overlapped(drawing, 222)
    drawing.text(
        30, 442, "Schematic: times and sizes are made up; who waits for what is computed from them.", "small"
    )
    return drawing.svg()
