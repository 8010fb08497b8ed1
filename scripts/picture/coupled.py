"""What a block computes and sends with --coupling none, and coupled."""

from fractions import Fraction

from picture.block import RATIO, Block, Matrix, sampled_block
from picture.svg import LEFT_OUT, WEIGHTS, WEIGHTS_DARK, WEIGHTS_IDLE, WIRE, WIRE_IDLE, Drawing

CHANNELS = 12
SEED = 2
CELL = 11
SIDE = CHANNELS * CELL
CONV1, NORM1, CONV2 = 44, 218, 300
GRADIENTS = (524, 642, 702)  # of the three


def fraction_of(matrix: Matrix) -> str:
    name = {Fraction(RATIO): "ratio", Fraction(RATIO) ** 2: "ratio²"}[matrix.fraction()]
    return f"{name} = {matrix.fraction()}"


def draw_block(drawing: Drawing, top: float, part: Block) -> None:
    norm1 = part.conv1._replace(columns=[0])  # a vector of the same rows
    middle, base = top + SIDE / 2, top + SIDE + 19
    drawing.cells(CONV1, top, CELL, CELL, part.conv1.in_weights())
    for channel in part.conv2.columns:
        drawing.dot(CONV1 + SIDE + 7, top + (channel + 0.5) * CELL, WEIGHTS_DARK)
        drawing.dot(CONV2 + (channel + 0.5) * CELL, top - 7, WEIGHTS_DARK)
    drawing.line("arrow", (CONV1 + SIDE + 13, middle), (NORM1 - 6, middle))
    drawing.cells(NORM1, top, CELL, CELL, [row[:1] for row in norm1.in_weights()])
    drawing.line("arrow", (NORM1 + CELL + 8, middle), (CONV2 - 8, middle))
    drawing.cells(CONV2, top, CELL, CELL, part.conv2.in_weights())
    drawing.text(NORM1 + CELL / 2, base, "norm1, relu", "small mid")
    for x, name, matrix in ((CONV1, "conv1", part.conv1), (CONV2, "conv2", part.conv2)):
        drawing.text(x + SIDE / 2, base, name, "small mid")
        drawing.text(x + SIDE / 2, base + 19, fraction_of(matrix), "mid")
    drawing.line("wire", (CONV2 + SIDE + 16, middle), (GRADIENTS[0] - 18, middle))
    for x, matrix, name in zip(
        GRADIENTS, (part.conv1, norm1, part.conv2), ("conv1", "norm1", "conv2"), strict=True
    ):
        rows = matrix.compact()
        drawing.cells(x, middle - len(rows) / 2 * CELL, CELL, CELL, rows)
        drawing.text(x + len(rows[0]) / 2 * CELL, base, name, "small mid")
        if matrix is not norm1:
            drawing.text(x + len(rows[0]) / 2 * CELL, base + 19, fraction_of(matrix), "mid")


def draw() -> str:
    drawing = Drawing(
        "Uncoupled, conv1 computes all outputs and sends their gradient, though conv2 reads half of them:"
        " ratio of the weights. Coupled, conv1 has only the rows that are conv2's columns: ratio squared",
        828,
        584,
    )
    drawing.text(CONV1, 36, "What is computed", "head")
    drawing.text(CONV1, 55, "weights: outputs down, inputs across", "small")
    drawing.text(GRADIENTS[0], 36, "What is sent", "head")
    drawing.text(GRADIENTS[0], 55, "their gradient", "small")
    for top, name, is_coupled, about in (
        (106, "--coupling none", False, "conv1 makes all outputs, and conv2 reads half of them"),
        (334, "coupled", True, "conv1 makes the outputs (rows) that conv2 reads (columns)"),
    ):
        drawing.text(CONV1, top - 20, name, "code strong")
        drawing.text(CONV1 + len(name) * 8.6 + 14, top - 20, about, "small")
        draw_block(drawing, top, sampled_block(CHANNELS, SEED, is_coupled))
    drawing.line("rule", (CONV1, 518), (784, 518))
    for x, y, colour, words in (
        (CONV1, 544, WEIGHTS, "computed"),
        (CONV1, 566, LEFT_OUT, "not computed"),
        (CONV1 + 136, 544, WEIGHTS_IDLE, "computed, then dropped"),
        (GRADIENTS[0], 544, WIRE, "sent"),
        (GRADIENTS[0], 566, WIRE_IDLE, "sent, though it is zero"),
    ):
        drawing.key(x, y, colour, words)
    drawing.dot(CONV1 + 143, 561, WEIGHTS_DARK)
    drawing.text(CONV1 + 157, 566, "kept at conv2's site", "small")
    return drawing.svg()
