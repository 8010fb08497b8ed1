"""What mode feedback sends and owes over some steps."""

from .svg import GRADIENT, LEFT_OUT, QUIET, WHITE, Drawing

SLICES = 8
A_STEP = 2  # slices
STEPS = 9


def run(slices: int, a_step: int, steps: int) -> list[tuple[list[int], set[int]]]:
    """By step: how many steps' gradients each slice holds, and which are sent; those begin anew."""
    held, history = [0] * slices, []
    for step in range(steps):
        held = [each + 1 for each in held]
        sent = {(step * a_step + i) % slices for i in range(a_step)}  # cyclic: those that waited longest
        history.append((held, sent))
        held = [0 if i in sent else each for i, each in enumerate(held)]
    return history


def sums(history: list[tuple[list[int], set[int]]]) -> list[tuple[int, int]]:
    """After each step: gradients of slices that were sent until then, and that are owed."""
    total, so_far = 0, []
    for held, sent in history:
        total += sum(held[i] for i in sent)
        so_far.append((total, sum(each for i, each in enumerate(held) if i not in sent)))
    return so_far


def draw() -> str:
    drawing = Drawing("Slices of a gradient that are sent in turn, and what of the others is owed", 960, 440)
    history = run(SLICES, A_STEP, STEPS)
    left, top, width, height = 160, 84, 84, 30
    drawing.text(left - 16, 44, "step", anchor="end")
    for step, (held, sent) in enumerate(history):
        x = left + step * width
        drawing.text(x + width / 2 - 2, 44, str(step + 1), anchor="middle")
        for i, each in enumerate(held):
            y = top - 24 + i * height
            drawing.box(x, y, width - 4, height - 4, GRADIENT if i in sent else LEFT_OUT)
            colour = WHITE if i in sent else QUIET
            drawing.text(x + width / 2 - 2, y + 19, str(each), "small", "middle", colour)
    for i in range(SLICES):
        drawing.text(left - 16, top - 24 + i * height + 19, f"slice {i + 1}", "small", "end")
    bottom = top - 24 + SLICES * height
    for row, name in enumerate(("sent so far", "owed", "together")):
        drawing.text(left - 16, bottom + 28 + row * 24, name, anchor="end")
    for step, (sent_so_far, owed) in enumerate(sums(history)):
        for row, value in enumerate((sent_so_far, owed, sent_so_far + owed)):
            drawing.text(
                left + step * width + width / 2 - 2, bottom + 28 + row * 24, str(value), anchor="middle"
            )
    drawing.line(40, bottom + 60, left + STEPS * width - 6, bottom + 60, LEFT_OUT)
    drawing.key(40, 424, GRADIENT, "sent: the gradients of so many steps, summed")
    drawing.key(480, 424, LEFT_OUT, "owed: kept by each rank for its next turn")
    return drawing.svg()
