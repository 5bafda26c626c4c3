"""Numbers and histories in a few characters, for tables in a terminal."""

from collections.abc import Iterable
from typing import Final

BARS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Iterable[float | None]) -> str:
    """Draw values as bars between the least and the largest of them; a constant is a middle line, None a blank."""
    column = list(values)
    known = [value for value in column if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    return "".join(" " if value is None else _bar(value, low, high) for value in column)


def _bar(value: float, low: float, high: float) -> str:
    if high <= low:
        return BARS[3]
    return BARS[min(int((value - low) / (high - low) * len(BARS)), len(BARS) - 1)]


def short(value: float | None) -> str:
    """Write a number with three or four digits, large ones with a unit prefix."""
    if value is None:
        return "-"
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if prefix == 'k' else size):.1f}{prefix}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    for size, unit in ((172_800, "d"), (7_200, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds / {'d': 86_400, 'h': 3_600, 'min': 60}[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"
