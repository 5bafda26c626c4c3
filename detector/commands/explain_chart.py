"""The last samples of a series in a terminal: one column or a few per sample, the band shaded, anomalies marked."""

import math
from collections.abc import Sequence
from typing import Final

from rich.text import Text

from detector.commands.explain_run import Point
from detector.encoders.wording import number

ROWS: Final = 8
CELLS_PER_POINT_MAX: Final = 3
AXIS_WIDTH: Final = 10
Cell = tuple[str, str]
"""A character and its style."""
NOTHING: Final = (" ", "")
INSIDE: Final = ("•", "bold cyan")
OUTSIDE: Final = ("●", "bold red")
BAND: Final = ("░", "blue")
MIDDLE: Final = ("╌", "blue")


def chart(points: Sequence[Point], width: int) -> list[Text]:
    """Draw the newest ``points`` that fit into ``width`` columns, :data:`ROWS` lines high; nothing without values."""
    room = max(width - AXIS_WIDTH, 1)
    points = [point for point in points if math.isfinite(point.value)][-room:]
    if not points:
        return []
    cells = min(max(room // len(points), 1), CELLS_PER_POINT_MAX)
    scale = _Scale(points)
    lines = [Text(label.rjust(AXIS_WIDTH - 2) + " ┤", style="dim") for label in scale.labels()]
    for point in points:
        before = (cells - 1) // 2
        for line, (side, mark) in zip(lines, _column(point, scale), strict=True):
            line.append(side[0] * before, style=side[1])
            line.append(mark[0], style=mark[1])
            line.append(side[0] * (cells - 1 - before), style=side[1])
    return lines


class _Scale:
    """Rows of numbers: the largest in row 0."""

    def __init__(self, points: Sequence[Point]) -> None:
        values = [number for point in points for number in (point.value, point.lower, point.upper)]
        known = [value for value in values if math.isfinite(value)]
        self.low, self.high = min(known), max(known)

    def row(self, value: float) -> int:
        """The row of a number, none beyond the first and the last."""
        if not self.high > self.low:
            return ROWS // 2
        share = self.high / 2 - value / 2, self.high / 2 - self.low / 2  # halves, so that no difference overflows
        return min(max(round(share[0] / share[1] * (ROWS - 1)), 0), ROWS - 1)

    def labels(self) -> list[str]:
        """Marks of the axis: first, middle and last row."""
        if not self.high > self.low:
            return ["" if row != ROWS // 2 else number(self.low) for row in range(ROWS)]
        return [number(self.high), *[""] * (ROWS - 2), number(self.low)]


def _has_band(point: Point) -> bool:
    return not (math.isnan(point.lower) or math.isnan(point.upper))


def _column(point: Point, scale: _Scale) -> list[tuple[Cell, Cell]]:
    """For every row what stands beside the sample, and what stands at it."""
    sides = [NOTHING] * ROWS
    outside = False
    if _has_band(point):
        top, bottom = scale.row(point.upper), scale.row(point.lower)
        sides[top : bottom + 1] = [BAND] * (bottom + 1 - top)
        outside = not point.lower <= point.value <= point.upper
        if not math.isnan(point.expected) and bottom > top:
            sides[scale.row(point.expected)] = MIDDLE
    marks = list(sides)
    marks[scale.row(point.value)] = OUTSIDE if outside else INSIDE
    return list(zip(sides, marks, strict=True))
