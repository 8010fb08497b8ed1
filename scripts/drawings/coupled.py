"""What coupled sampling leaves out of a block, beside the published scheme."""

from fractions import Fraction

from .svg import GRADIENT, IN_VAIN, LEFT_OUT, Drawing

CHANNELS = 8
FIRST_SITE = {1, 2, 4, 7}  # the inputs of conv1 that are kept
SECOND_SITE = {0, 3, 4, 6}  # those of conv2
SIDE = 22

Matrix = list[list[str]]


def first(coupled: bool) -> Matrix:
    """conv1, output by input: columns are of its own site, rows of the next one's, if they are coupled."""
    return [
        [
            LEFT_OUT if j not in FIRST_SITE else GRADIENT if i in SECOND_SITE else IN_VAIN
            for j in range(CHANNELS)
        ]
        if i in SECOND_SITE or not coupled
        else [LEFT_OUT] * CHANNELS
        for i in range(CHANNELS)
    ]


def second() -> Matrix:
    """conv2, which ends the block: its output is added to the shortcut, which has all channels."""
    return [[GRADIENT if j in SECOND_SITE else LEFT_OUT for j in range(CHANNELS)] for _ in range(CHANNELS)]


def computed(matrix: Matrix) -> Fraction:
    cells = [cell for row in matrix for cell in row]
    return Fraction(sum(cell != LEFT_OUT for cell in cells), len(cells))


def panel(drawing: Drawing, x: float, name: str, said: str, matrices: tuple[Matrix, Matrix]) -> None:
    drawing.text(x + 215, 44, name, "head", "middle")
    drawing.text(x + 215, 68, said, "small", "middle")
    size = SIDE * CHANNELS
    for place, matrix, layer, formula in (
        (x, matrices[0], "conv1", "ratio²" if computed(matrices[0]) < Fraction(1, 2) else "ratio"),
        (x + size + 78, matrices[1], "conv2", "ratio"),
    ):
        drawing.cells(place, 106, SIDE, matrix)
        drawing.text(
            place + size / 2, 106 + size + 26, f"{layer}: {computed(matrix)} = {formula}", anchor="middle"
        )
    drawing.arrow(x + size + 8, 106 + size / 2, x + size + 70, 106 + size / 2)
    drawing.text(x + size + 38, 106 + size / 2 - 12, "norm,", "small", "middle")
    drawing.text(x + size + 38, 106 + size / 2 + 24, "ReLU", "small", "middle")


def draw() -> str:
    drawing = Drawing(
        "A block with half of its channels: coupled sampling leaves out the rows of its first convolution "
        "whose outputs the second one does not read",
        960,
        390,
    )
    panel(
        drawing,
        28,
        "As published (--coupling none)",
        "what conv2 does not read is computed, then dropped",
        (first(coupled=False), second()),
    )
    panel(
        drawing,
        504,
        "Coupled (the default)",
        "what conv2 does not read is not computed, nor sent",
        (first(coupled=True), second()),
    )
    drawing.line(480, 28, 480, 316)
    drawing.key(28, 358, GRADIENT, "computed, and its gradient sent")
    drawing.key(330, 358, IN_VAIN, "likewise, for nothing: its gradient is 0")
    drawing.key(680, 358, LEFT_OUT, "left out (row: output)")
    return drawing.svg()
