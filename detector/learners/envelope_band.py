"""The band of the envelope learner: severity as a function of the value, and where it reaches the edge.

severity^2 = sum of ((x - c) / s)^2 over four levels c, each with its usual residual s = size + PEAK_SHARE * max(peak,
abs(x - c)): parabolas in x, but for the share of a residual that exceeds every one before.
"""

import math
from typing import Final

from detector.compiled import compiled

CHANNELS: Final = 4
PEAK_SHARE: Final = 1e-3
"""Part of the largest residual that counts as usual: bounds the severity and widens the band of spiky series."""

_TURNS_MAX: Final = 60
_STEP_MAX: Final = 2.0
_SOLVED: Final = 1e-7  # of the reach, as the last step: the error after one of Newton's is about its square

Four = tuple[float, float, float, float]
"""One number per level: the fast one, the seasonal one, the previous sample, the slowest."""


@compiled
def severity_squared(x: float, levels: Four, sizes: Four, peaks: Four) -> float:
    """The sum of the squares of the four residuals in usual sizes, 0 to 4e6."""
    total = 0.0
    for j in range(CHANNELS):
        distance = abs(x - levels[j])
        quotient = distance / (sizes[j] + PEAK_SHARE * max(peaks[j], distance))
        total += quotient * quotient
    return total


@compiled
def _outermost(j: int, edge: float, sizes: Four, peaks: Four) -> float:
    """The distance from one level at which it alone reaches the edge."""
    distance = edge * (sizes[j] + PEAK_SHARE * peaks[j])
    if distance > peaks[j]:
        distance = edge * sizes[j] / (1.0 - edge * PEAK_SHARE)
    return distance


@compiled
def _bound(start: float, centre: float, side: float, edge: float, levels: Four, sizes: Four, peaks: Four) -> float:
    """Where the severity reaches ``edge``, ``side`` (1.0 up, -1.0 down) of ``centre``: Newton's steps inside a bracket.

    ``start`` is the answer as long as no residual exceeds its peak; a larger one widens its own usual size.
    """
    inside = 0.0
    outside = math.inf
    reach = start
    for _ in range(_TURNS_MAX):
        x = centre + side * reach
        total = 0.0
        slope = 0.0
        for j in range(CHANNELS):
            difference = (x - levels[j]) * side
            distance = abs(difference)
            usual = sizes[j] + PEAK_SHARE * max(peaks[j], distance)
            share = 1.0 / usual
            quotient = difference * share
            total += quotient * quotient
            if distance > peaks[j]:
                share *= sizes[j] * share
            slope += quotient * share
        if total < edge * edge:
            inside = reach
        else:
            outside = reach
        following = reach - (total - edge * edge) / (2.0 * slope) if slope > 0.0 else math.inf
        if following > _STEP_MAX * reach and math.isinf(outside):  # seldom: the levels nearly disagree by the edge
            for j in range(CHANNELS):
                outside = min(outside, (levels[j] - centre) * side + _outermost(j, edge, sizes, peaks))
        if not inside <= following <= outside:
            following = 0.5 * (inside + outside)
        change = abs(following - reach)
        reach = following
        if change <= _SOLVED * reach:
            break
    return reach


@compiled
def band(edge: float, levels: Four, sizes: Four, peaks: Four) -> tuple[float, float, float]:
    """Centre, distance down, distance up: where the four agree best, how far from there the severity is ``edge``.

    The sum of w (x - c)^2 with w = 1 / s^2 is least at sum(w c) / sum(w). The weights are relative to the largest,
    since sizes may be of any unit.
    """
    smallest = math.inf
    for j in range(CHANNELS):
        smallest = min(smallest, sizes[j] + PEAK_SHARE * peaks[j])
    weights = 0.0
    centre = 0.0
    for j in range(CHANNELS):
        share = smallest / (sizes[j] + PEAK_SHARE * peaks[j])
        weights += share * share
        centre += share * share * (levels[j] - levels[0])
    centre = levels[0] + centre / weights
    left = edge * edge - severity_squared(centre, levels, sizes, peaks)
    if left <= 0.0:
        return centre, 0.0, 0.0
    start = smallest * math.sqrt(left / weights)
    down = _bound(start, centre, -1.0, edge, levels, sizes, peaks)
    return centre, down, _bound(start, centre, 1.0, edge, levels, sizes, peaks)
