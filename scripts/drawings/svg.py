"""A drawing in the manner of docs/images/overview.svg, and its text as SVG: the same bytes everywhere."""

from html import escape

WEIGHTS = "#1768ac"
GRADIENT = "#d9660b"
IN_VAIN = "#f3c9a5"  # of the gradient's colour
LEFT_OUT = "#cbd2d9"
INK = "#1f2933"
QUIET = "#52606d"
WHITE = "#ffffff"

STYLE = """
    text { font-family: "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif; font-size: 17px; }
    .head { font-size: 19px; font-weight: bold; }
    .small { font-size: 15px; }
"""


def number(value: float) -> str:
    """Rounded alike on every machine, without zeros that say nothing."""
    return f"{value:.1f}".removesuffix(".0")


class Drawing:
    """Coordinates in pixels, from the upper left corner of a frame of `width` x `height`."""

    def __init__(self, title: str, width: int, height: int) -> None:
        self.title, self.width, self.height = title, width, height
        self.parts: list[str] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        line: str = "none",
        round_: float = 0,
    ) -> None:
        self.parts.append(
            f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" '
            f'rx="{number(round_)}" fill="{fill}" stroke="{line}" stroke-width="1.5"/>'
        )

    def text(
        self, x: float, y: float, words: str, kind: str = "", anchor: str = "start", fill: str = INK
    ) -> None:
        """`kind`: head, small, or neither. `anchor`: start, middle or end."""
        named = f' class="{kind}"' if kind else ""
        self.parts.append(
            f'<text x="{number(x)}" y="{number(y)}"{named} text-anchor="{anchor}" fill="{fill}">'
            f"{escape(words, quote=False)}</text>"
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: str = QUIET, dashed: bool = False
    ) -> None:
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<path d="M{number(x1)} {number(y1)} L{number(x2)} {number(y2)}" '
            f'stroke="{colour}" stroke-width="1.5" fill="none"{dashes}/>'
        )

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self.parts.append(
            f'<path d="M{number(x1)} {number(y1)} L{number(x2)} {number(y2)}" '
            f'stroke="{QUIET}" stroke-width="2" fill="none" marker-end="url(#tip)"/>'
        )

    def cells(self, x: float, y: float, side: float, colours: list[list[str]]) -> None:
        """A matrix, row by row; its cells touch, with a thin white line between them."""
        for i, row in enumerate(colours):
            for j, colour in enumerate(row):
                self.box(x + j * side + 0.5, y + i * side + 0.5, side - 1, side - 1, colour)

    def key(self, x: float, y: float, colour: str, words: str) -> None:
        self.box(x, y - 12, 14, 14, colour)
        self.text(x + 22, y, words, "small")

    def svg(self) -> str:
        lines = "\n".join(f"  {part}" for part in self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" aria-labelledby="title">\n'
            f'  <title id="title">{escape(self.title, quote=False)}</title>\n'
            f"  <style>{STYLE}  </style>\n"
            '  <defs><marker id="tip" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="6" markerHeight="6" '
            f'orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="{QUIET}"/></marker></defs>\n'
            f'  <rect x="1" y="1" width="{self.width - 2}" height="{self.height - 2}" rx="14" '
            'fill="#fbfcfd" stroke="#9aa5b1" stroke-width="1.5"/>\n'
            f"{lines}\n</svg>\n"
        )
