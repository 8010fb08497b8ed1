"""When a step's AllReduces run, beside a scheme that waits for the whole backward pass: a simulation."""

from typing import NamedTuple

from .svg import GRADIENT, LEFT_OUT, QUIET, WEIGHTS, WHITE, Drawing


class Layer(NamedTuple):
    backward_ms: float
    mb: float


class Span(NamedTuple):
    begin: float
    end: float


class Step(NamedTuple):
    backward: list[Span]  # of each layer, from the last one
    ready: list[float]  # when each bucket is full
    allreduces: list[Span]
    updates: list[Span]

    @property
    def end(self) -> float:
        return self.updates[-1].end


# From the last layer to the first, as in a ResNet: late layers have most weights, early ones take as long.
LAYERS = [
    Layer(10, 6),
    Layer(12, 5),
    Layer(12, 4),
    Layer(14, 2),
    Layer(14, 1.5),
    Layer(16, 1),
    Layer(18, 0.5),
]
MB_A_MS = 0.22
UPDATE_MS_A_MB = 0.6


def buckets_of(layers: list[Layer], capacity_mb: float) -> list[list[int]]:
    """Consecutive layers, each bucket as full as the capacity allows."""
    buckets: list[list[int]] = []
    for i, layer in enumerate(layers):
        held = sum(layers[j].mb for j in buckets[-1]) if buckets else 0
        if not buckets or held + layer.mb > capacity_mb:
            buckets.append([])
        buckets[-1].append(i)
    return buckets


def simulate(layers: list[Layer], buckets: list[list[int]]) -> Step:
    """A bucket goes out when it is full and the wire is free; its weights change when backward is over."""
    backward, now = [], 0.0
    for layer in layers:
        backward.append(Span(now, now + layer.backward_ms))
        now += layer.backward_ms
    ready = [backward[bucket[-1]].end for bucket in buckets]
    allreduces, updates, wire, processor = [], [], 0.0, now
    for bucket, full in zip(buckets, ready, strict=True):
        mb = sum(layers[i].mb for i in bucket)
        begin = max(full, wire)
        wire = begin + mb / MB_A_MS
        allreduces.append(Span(begin, wire))
        begin = max(wire, processor)
        processor = begin + mb * UPDATE_MS_A_MB
        updates.append(Span(begin, processor))
    return Step(backward, ready, allreduces, updates)


def rows(drawing: Drawing, y: float, step: Step, scale: float) -> None:
    x = 150

    def bars(at: float, name: str, spans: list[Span], colour: str, said: str) -> None:
        drawing.text(x - 14, at + 21, name, anchor="end")
        for i, span in enumerate(spans):
            width = (span.end - span.begin) * scale
            drawing.box(x + span.begin * scale + 0.5, at, width - 1, 32, colour)
            if width > 26:
                label = said.format(i + 1, len(spans) - i)
                drawing.text(
                    x + (span.begin + span.end) / 2 * scale, at + 22, label, "small", "middle", WHITE
                )

    bars(y, "backward", step.backward, WEIGHTS, "{1}")
    bars(y + 40, "AllReduce", step.allreduces, GRADIENT, "{0}")
    bars(y + 80, "update", step.updates, QUIET, "")
    over = step.backward[-1].end
    wait = step.allreduces[-1].end - over
    drawing.text(
        x + step.end * scale + 8 if wait * scale < 240 else x + over * scale + 14,
        y + 22,
        "exposed: nothing left to compute",
        "small",
        fill=QUIET,
    )


def draw() -> str:
    one = simulate(LAYERS, [list(range(len(LAYERS)))])
    several = simulate(LAYERS, buckets_of(LAYERS, 6))
    scale = 780 / one.end
    drawing = Drawing(
        "One AllReduce after backward, and one for each bucket while backward goes on: that step is shorter",
        960,
        420,
    )
    drawing.text(24, 40, "As published: one flat buffer, when backward is over", "head")
    rows(drawing, 62, one, scale)
    drawing.text(24, 226, "Here: bucket by bucket, from the last layer to the first", "head")
    rows(drawing, 248, several, scale)
    drawing.line(150 + several.end * scale, 240, 150 + several.end * scale, 376, LEFT_OUT)
    drawing.text(150 + several.end * scale + 8, 344, "the step is over", "small", fill=QUIET)
    drawing.text(
        24,
        402,
        "A sketch: the same layers, bytes and link in both. Numbers: layers, and buckets.",
        "small",
        fill=QUIET,
    )
    return drawing.svg()
