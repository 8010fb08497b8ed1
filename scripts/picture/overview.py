"""A step of mode compact on two workers, for README."""

from picture.block import sampled_block
from picture.queueing import Processor, Wire
from picture.svg import GREY, NOTE, PAPER, WEIGHTS, WEIGHTS_DARK, WIRE, Drawing

CHANNELS = 8
SEED = 7
CELL = 14
SIDE = CHANNELS * CELL


def draw_worker(drawing: Drawing, rank: int, top: float) -> None:
    conv1, conv2 = sampled_block(CHANNELS, SEED, is_coupled=True)
    middle = top + SIDE / 2
    drawing.text(34, middle, f"worker {rank}", "head mid", turned=True)
    for x, name, matrix in ((70, "conv1", conv1), (210, "conv2", conv2)):
        drawing.cells(x, top, CELL, CELL, matrix.in_weights())
        drawing.text(x + SIDE / 2, top + 130, name, "small mid")
    drawing.line("arrow", (332, middle), (404, middle))
    drawing.text(368, middle - 10, "gather", "small mid")
    for x, fill in ((420, WEIGHTS), (684, WIRE)):
        for left, matrix in ((x, conv1), (x + 84, conv2)):
            rows = matrix.compact(fill)
            drawing.cells(left, middle - len(rows) / 2 * CELL, CELL, CELL, rows)
    drawing.line("arrow", (570, middle), (668, middle))
    drawing.text(618, middle - 10, "forward,", "small mid")
    drawing.text(618, middle + 20, "backward", "small mid")
    drawing.line("wire", (834, middle), (912, middle))


def draw_time(drawing: Drawing, top: float) -> None:
    """A unit of time is a pixel."""
    processor, wire = Processor(), Wire()
    for words, duration in (("gather", 72), ("forward", 243), ("backward: conv2", 243)):
        processor.work(words, duration)
    wire.send("slices of conv2", processor.now, 172)
    processor.work("backward: conv1", 199)
    wire.send("conv1", processor.now, 64)
    processor.wait_until(wire.spans[-1].end)
    processor.work("SGD", 94)
    drawing.text(40, top, "One step of mode compact in time", "head")
    fills = (GREY, WEIGHTS, WEIGHTS_DARK, WEIGHTS_DARK, GREY)
    for name, y, spans, colours in (
        ("processor", top + 18, processor.spans, fills),
        ("wire", top + 64, wire.spans, (WIRE, WIRE)),
    ):
        drawing.text(150, y + 21, name, "end")
        for span, fill in zip(spans, colours, strict=True):
            drawing.block(166 + span.start, y, span.end - span.start - 3, 32, fill, span.name)
    (wait,) = processor.idle()
    drawing.bracket(166 + wait.start, 166 + wait.end - 3, top + 100)
    drawing.text(166 + wait.start - 8, top + 112, "exposed_comm_ms", "small end")
    drawing.text(166, top + 85, "a bucket goes on the wire as soon as backward has filled it", "small")


def draw() -> str:
    drawing = Drawing(
        "Mode compact: two workers choose the same channels from shared weights, train the compact network"
        " that these leave, and reduce only its gradient while backward is still at work",
        1120,
        640,
    )
    for x, head, about in (
        (196, "Dense weights", "the same on all workers"),
        (488, "Compact network", "what the step trains"),
        (752, "Its gradient", "no other one exists"),
    ):
        drawing.text(x, 36, head, "head mid")
        drawing.text(x, 56, about, "small mid")
    draw_worker(drawing, 0, 76)
    draw_worker(drawing, 1, 286)
    drawing.rect(70, 218, 486, 54, NOTE, 8)
    drawing.text(313, 240, "Same weights, same seed: the same channels. No message.", "mid")
    drawing.text(313, 260, "conv1 makes only the outputs (rows) that conv2 keeps (columns)", "small mid")
    drawing.texts(752, 240, ("each worker has its own images,", "so the gradients differ"), "small mid")
    drawing.rect(918, 76, 120, 322, WIRE, 10)
    drawing.text(978, 222, "AllReduce", "head on mid")
    drawing.texts(978, 244, ("mean of the", "slices only"), "on mid", leading=20)
    drawing.line("arrow", (978, 400), (978, 440), (196, 440), (196, 424))
    drawing.rect(296, 427, 584, 26, PAPER)
    update = (
        "SGD on the dense weights; their norms choose the next step\N{RIGHT SINGLE QUOTATION MARK}s channels"
    )
    drawing.text(588, 445, update, "mid")
    drawing.line("rule", (40, 476), (1080, 476))
    draw_time(drawing, 504)
    return drawing.svg()
