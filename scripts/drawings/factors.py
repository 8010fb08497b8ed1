"""How many numbers two thin factors of a gradient have."""

from .svg import GRADIENT, IN_VAIN, QUIET, Drawing

ROWS, COLUMNS = 512, 512 * 9  # a convolution of 512 channels, 3x3
RANK = 4


def numbers_of(rows: int, columns: int, rank: int) -> tuple[int, int]:
    """Of the matrix, and of its factors."""
    return rows * columns, rank * (rows + columns)


def draw() -> str:
    whole, factors = numbers_of(ROWS, COLUMNS, RANK)
    drawing = Drawing(
        f"A gradient of {ROWS} x {COLUMNS} numbers, and its two factors of rank {RANK}", 960, 330
    )
    top, height, width = 96, 120, 360
    drawing.text(40 + width / 2, 50, "gradient M", "head", "middle")
    drawing.text(40 + width / 2, 76, f"{ROWS} x {COLUMNS:,}".replace(",", " "), "small", "middle")
    drawing.box(40, top, width, height, IN_VAIN)
    drawing.text(430, top + height / 2 + 8, "≈", "head", "middle")
    drawing.text(476, 50, "P", "head", "middle")
    drawing.text(476, 76, f"{ROWS} x {RANK}", "small", "middle")
    drawing.box(470, top, 12, height, GRADIENT)
    drawing.text(522, top + height / 2 + 6, "x", anchor="middle")
    drawing.text(550 + width / 2, 50, "Qᵀ", "head", "middle")
    drawing.text(550 + width / 2, 76, f"{RANK} x {COLUMNS:,}".replace(",", " "), "small", "middle")
    drawing.box(550, top + height / 2 - 6, width, 12, GRADIENT)
    drawing.text(40 + width / 2, 250, f"{whole:,} numbers".replace(",", " "), anchor="middle")
    drawing.text(690, 250, f"{factors:,} numbers: 1/{whole / factors:.0f}".replace(",", " "), anchor="middle")
    drawing.text(
        480,
        302,
        "Thin sides are drawn wider than they are. What is lost is owed, and added to the next gradient.",
        "small",
        "middle",
        QUIET,
    )
    return drawing.svg()
