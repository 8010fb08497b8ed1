"""Draws accuracy over training time as SVG: a line for each contender, its mean over seeds."""

import statistics
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 56
# Okabe and Ito's colours, which colour-blind readers tell apart; the peers are dashed besides.
COLOURS = ("#000000", "#999999", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def mean_curve(runs: list[dict]) -> list[tuple[float, float]]:
    """(Seconds, percent) after each epoch."""
    return [
        (statistics.mean(point[0] for point in points), statistics.mean(point[1] for point in points))
        for points in zip(*(run["curve"] for run in runs), strict=True)
    ]


def ticks(most: float, count: int = 6) -> list[float]:
    """Round numbers from 0 to at least `most`."""
    step = next(
        size * 10**power for power in range(-1, 9) for size in (1, 2, 5) if size * 10**power * count >= most
    )
    return [step * number for number in range(int(most // step) + 2)]


class Canvas:
    def __init__(self, seconds: list[float], percents: list[float]) -> None:
        self.times = ticks(max(seconds))
        self.lowest = 10 * (int(min(percents)) // 10)
        self.highest = min(100, 10 * (int(max(percents)) // 10 + 1))
        self.parts: list[str] = []

    def x(self, seconds: float) -> float:
        return LEFT + seconds / self.times[-1] * (WIDTH - LEFT - RIGHT)

    def y(self, percent: float) -> float:
        share = (percent - self.lowest) / (self.highest - self.lowest)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def text(self, x: float, y: float, text: str, anchor: str = "middle", colour: str = "#333") -> None:
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
        self.parts.append(f"<text {place}>{escape(text)}</text>")

    def line(self, points: list[tuple[float, float]], style: str) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" {style}/>')

    def axes(self, title: str) -> None:
        self.text(WIDTH / 2, 24, title)
        for second in self.times:
            self.line([(self.x(second), TOP), (self.x(second), HEIGHT - BOTTOM)], 'stroke="#e5e5e5"')
            self.text(self.x(second), HEIGHT - BOTTOM + 20, f"{second:g}")
        for percent in range(self.lowest, self.highest + 1, 5):
            self.line([(LEFT, self.y(percent)), (WIDTH - RIGHT, self.y(percent))], 'stroke="#e5e5e5"')
            self.text(LEFT - 8, self.y(percent) + 4, f"{percent} %", "end")
        self.text(WIDTH / 2, HEIGHT - 12, "seconds of training")

    def curve(self, number: int, name: str, points: list[tuple[float, float]]) -> None:
        colour = COLOURS[number % len(COLOURS)]
        dash = "" if name.startswith("slicereduce") else ' stroke-dasharray="6 4"'
        style = f'stroke="{colour}" stroke-width="2"{dash}'
        self.line([(self.x(second), self.y(percent)) for second, percent in points], style)
        below = HEIGHT - BOTTOM - 16 - 18 * number
        self.line([(WIDTH - RIGHT - 300, below - 4), (WIDTH - RIGHT - 270, below - 4)], style)
        self.text(WIDTH - RIGHT - 262, below, name, "start")

    def svg(self) -> str:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="13"'
        body = "\n".join(self.parts)
        paper = '<rect width="100%" height="100%" fill="#fff"/>'
        return f'{head} font-family="sans-serif">\n{paper}\n{body}\n</svg>\n'


def draw(path: Path, results: dict[str, list[dict]], title: str) -> None:
    curves = {name: mean_curve(runs) for name, runs in results.items()}
    points = [point for curve in curves.values() for point in curve]
    canvas = Canvas([second for second, _ in points], [percent for _, percent in points])
    canvas.axes(title)
    for number, (name, curve) in enumerate(curves.items()):
        canvas.curve(number, name, curve)
    path.write_text(canvas.svg())
