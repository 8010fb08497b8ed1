"""Numbers as people read them; a dash where there is none."""

MISSING = "\N{EM DASH}"
DECIMAL = ("", "k", "M", "G", "T", "P", "E")


def significant(value: float, digits: int = 3) -> str:
    """With so many digits, but never fewer than those before the point: 0.0571, 5.71, 571, 5,713."""
    if value == 0:
        return "0"
    text = f"{value:,.{digits}g}"
    if "e" not in text:
        return text
    return f"{value:,.0f}" if abs(value) >= 1 else text


def prefixed(value: float | None, unit: str) -> str:
    """1077736 and B: 1.08 MB, of powers of 1000."""
    if value is None:
        return MISSING
    power = 0
    while abs(value) >= 999.5 and power + 1 < len(DECIMAL):
        value, power = value / 1000, power + 1
    return f"{significant(value)} {DECIMAL[power]}{unit}"


def size(count: float | None) -> str:
    return prefixed(count, "B")


def flops(count: float | None) -> str:
    return prefixed(count, "FLOP")


def percent(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def share(fraction: float | None) -> str:
    return MISSING if fraction is None else f"{100 * fraction:.1f} %"


def seconds(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}" if value >= 100 else significant(value)


def milliseconds(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.1f}" if value >= 0.1 or value == 0 else f"{value:.2f}"


def decimal(value: float | None, places: int) -> str:
    return MISSING if value is None else f"{value:,.{places}f}"


def whole(value: float | None) -> str:
    return decimal(value, 0)
