"""The page's building blocks, as HTML."""

import html
import re
from collections.abc import Iterable
from typing import NamedTuple

from report_page.plot import Plot

LONG_TABLE = 12  # rows; longer ones are folded


class Cell(NamedTuple):
    content: str  # HTML
    look: str = ""


Row = list[Cell]


def unbroken(words: str) -> str:
    return words.replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")


def text(value: str, look: str = "text") -> Cell:
    return Cell(html.escape(value), look)


def number(value: str, *asides: str) -> Cell:
    small = "".join(f"<small>{html.escape(aside)}</small>" for aside in asides if aside)
    return Cell(html.escape(value) + small)


def row(cells: Row, tag: str = "td", look: str = "") -> str:
    inner = "".join(
        f'<{tag} class="{cell.look}">{cell.content}</{tag}>'
        if cell.look
        else f"<{tag}>{cell.content}</{tag}>"
        for cell in cells
    )
    return f'<tr class="{look}">{inner}</tr>' if look else f"<tr>{inner}</tr>"


def table(head: list[str], rows: Iterable[str], texts: int = 1) -> str:
    """The first `texts` columns are text, and the others numbers."""
    # A unit stays with the last word before it.
    names = [re.sub(r"\S+, \S+$", lambda end: unbroken(end[0]), name) for name in head]
    cells = [text(name, "text" if place < texts else "") for place, name in enumerate(names)]
    body = "\n".join(rows)
    made = f"<table><thead>{row(cells, 'th')}</thead><tbody>\n{body}\n</tbody></table>"
    return f'<div class="scrolls">{made}</div>'


def folded(title: str, content: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def folded_if_long(title: str, head: list[str], rows: list[str], texts: int = 1) -> str:
    made = table(head, rows, texts)
    return folded(f"{title} ({len(rows)} rows)", made) if len(rows) > LONG_TABLE else made


def paragraph(content: str, look: str = "about") -> str:
    return f'<p class="{look}">{html.escape(content)}</p>'


def bullets(lines: list[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if lines else ""


def figure(plot: Plot) -> str:
    look = ' class="wide"' if plot.is_wide else ""
    title = html.escape(plot.title)
    drawing = plot.inline().replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
    return f"<figure{look}>{drawing}<figcaption>{title}</figcaption></figure>"


def figures(plots: list[Plot]) -> str:
    return f'<div class="plots">{"".join(map(figure, plots))}</div>'


def key(colour: str) -> str:
    return f'<span class="key" style="background:{colour}"></span>'


def breakable(name: str, mark: str) -> str:
    """HTML of a name that may go on in the next line behind its joints; `mark` stays with its beginning."""
    begin, *rest = (html.escape(part) for part in re.split(r"(?<=[-_./])(?=.)", name))
    return "<wbr>".join((f'<span class="begin">{mark}{begin}</span>', *rest))
