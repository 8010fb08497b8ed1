"""SVG as text. Only plain shapes with numbers of one decimal, so that the same picture is the same file on
every machine; no font is measured."""

import html
from collections.abc import Iterable, Sequence

GREY = "#7b8794"
LEFT_OUT = "#cbd2d9"
PAPER = "#fbfcfd"
NOTE = "#e3eef8"
# Weights, and what is computed with them.
WEIGHTS = "#1768ac"
WEIGHTS_DARK = "#0f4c81"
WEIGHTS_IDLE = "#a5c8e6"
# Gradients, and all that travels.
WIRE = "#d9660b"
WIRE_IDLE = "#f3c7a0"

STYLE = """
    text { font-family: "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif; }
    text { font-size: 15px; fill: #1f2933; }
    .head { font-size: 16px; font-weight: bold; }
    .small { font-size: 14px; fill: #52606d; }
    .code { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 14px; }
    .strong { font-weight: bold; fill: #1f2933; }
    .mid { text-anchor: middle; }
    .end { text-anchor: end; }
    .on { fill: #ffffff; }
    .line { stroke: #52606d; stroke-width: 1.5; fill: none; }
    .rule { stroke: #cbd2d9; stroke-width: 1.5; fill: none; }
    .dashes { stroke: #52606d; stroke-width: 1.5; fill: none; stroke-dasharray: 4 3; }
    .arrow { stroke: #52606d; stroke-width: 2; fill: none; marker-end: url(#tip); }
    .thin { stroke-width: 1.5; }
    .wire { stroke: #d9660b; stroke-width: 3; fill: none; marker-end: url(#wiretip); }
  """


def number(value: float) -> str:
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def marker(name: str, size: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="{size}"'
        f' markerHeight="{size}" orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="{colour}"/></marker>'
    )


class Drawing:
    """Grows by what is drawn on it, the later above the earlier. Places are of upper left corners, and of
    texts their base line's begin (or middle, or end); `look` names classes of STYLE."""

    def __init__(self, title: str, width: int, height: int) -> None:
        self.title = html.escape(title, quote=False)
        self.width, self.height = width, height
        self.elements: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, fill: str, radius: float = 0) -> None:
        rounded = f' rx="{number(radius)}"' if radius else ""
        size = f'width="{number(width)}" height="{number(height)}"'
        self.elements.append(f'<rect x="{number(x)}" y="{number(y)}" {size}{rounded} fill="{fill}"/>')

    def text(self, x: float, y: float, words: str, look: str = "", turned: bool = False) -> None:
        kind = f' class="{look}"' if look else ""
        turn = f' transform="rotate(-90 {number(x)} {number(y)})"' if turned else ""
        content = html.escape(words, quote=False)
        self.elements.append(f'<text{kind} x="{number(x)}" y="{number(y)}"{turn}>{content}</text>')

    def texts(self, x: float, y: float, lines: Iterable[str], look: str = "", leading: float = 18) -> None:
        for at, words in enumerate(lines):
            self.text(x, y + at * leading, words, look)

    def line(self, look: str, *points: tuple[float, float]) -> None:
        path = " L".join(f"{number(x)} {number(y)}" for x, y in points)
        self.elements.append(f'<path class="{look}" d="M{path}"/>')

    def block(
        self, x: float, y: float, width: float, height: float, fill: str, words: str = "", look: str = "on"
    ) -> None:
        """A rectangle with words in its middle."""
        self.rect(x, y, width, height, fill, 4)
        if words:
            self.text(x + width / 2, y + height / 2 + 5, words, f"mid {look}".strip())

    def cells(
        self, x: float, y: float, width: float, height: float, rows: Sequence[Sequence[str]], gap: float = 1
    ) -> None:
        """A grid of colours, row by row: a path for each colour."""
        paths: dict[str, list[str]] = {}
        across, down = number(width - gap), number(height - gap)
        for at, row in enumerate(rows):
            for column, colour in enumerate(row):
                place = f"M{number(x + column * width)} {number(y + at * height)}"
                paths.setdefault(colour, []).append(f"{place}h{across}v{down}h-{across}z")
        for colour, path in paths.items():
            self.elements.append(f'<path fill="{colour}" d="{"".join(path)}"/>')

    def dot(self, x: float, y: float, fill: str, radius: float = 2.5) -> None:
        """`x` and `y` are of its middle."""
        place = f'cx="{number(x)}" cy="{number(y)}"'
        self.elements.append(f'<circle {place} r="{number(radius)}" fill="{fill}"/>')

    def bracket(self, x: float, end: float, y: float, depth: float = 7) -> None:
        """From `x` to `end`, open above, or below where `depth` is negative."""
        self.line("line", (x, y), (x, y + depth), (end, y + depth), (end, y))

    def key(self, x: float, y: float, fill: str, words: str) -> None:
        """A line of a legend; `y` is the words' base line."""
        self.rect(x, y - 12, 14, 14, fill, 2)
        self.text(x + 21, y, words, "small")

    def svg(self) -> str:
        size = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}"'
        frame = f'<rect x="1" y="1" width="{self.width - 2}" height="{self.height - 2}" rx="14"'
        return "\n".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title">',
                f'  <title id="title">{self.title}</title>',
                f"  <style>{STYLE}</style>",
                f"  <defs>{marker('tip', '6', '#52606d')}{marker('wiretip', '4.5', WIRE)}</defs>",
                # A ground of its own: pages may be dark.
                f'  {frame} fill="{PAPER}" stroke="#9aa5b1" stroke-width="1.5"/>',
                *(f"  {element}" for element in self.elements),
                "</svg>\n",
            )
        )
