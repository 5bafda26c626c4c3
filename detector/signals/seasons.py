"""The service's rhythm by hour of the day and of the week, as a factor on what is usual.

Lines per window are averaged hour by hour. Once all hours of a day are known the factor is the hour's average over that
of all hours, and once all of a week are, by the week; before, it is 1. Between the middles of hours it goes in a
straight line, or it steps at the full hour, whichever has been nearer to the service's lines.
"""

from typing import Final

import numpy as np

from detector.batches import FloatArray, IntArray
from detector.compiled import compiled
from detector.signals.records import DAY_HOURS, WEEK_HOURS

HOUR_MS: Final = 3_600_000
HOURS_AT_EPOCH: Final = 72
"""The epoch began on a Thursday; weeks begin on Monday."""
KEPT_SHARE_MIN: Final = 0.25
"""Weight of an hour in the average of hours like it, at least."""
OFF_MAX: Final = 3.0
"""Times: what one incident can make of an hour."""
ERROR_GAIN: Final = 1.0 / 1_440
HOUR_WINDOWS_SHARE: Final = 0.5
"""Of an hour's windows must be seen for it to count."""
FACTOR_MIN: Final = 0.05
FACTOR_MAX: Final = 20.0


@compiled
def _usual(lines: FloatArray, seen: IntArray) -> float:
    """Lines per window over all hours; 0 where not all were seen."""
    total = 0.0
    for k in range(len(lines)):
        if seen[k] == 0:
            return 0.0
        total += lines[k]
    return total / len(lines)


@compiled
def _factors(lines: FloatArray, usual: float, local_ms: int) -> tuple[float, float]:
    """A smooth factor, in a straight line between the middles of hours, and a stepped one, the hour's own."""
    shifted = local_ms - HOUR_MS // 2
    hour = shifted // HOUR_MS + HOURS_AT_EPOCH
    between = float(shifted % HOUR_MS) / HOUR_MS
    here, there = lines[hour % len(lines)], lines[(hour + 1) % len(lines)]
    own = lines[(local_ms // HOUR_MS + HOURS_AT_EPOCH) % len(lines)]
    return (here + between * (there - here)) / usual, own / usual


@compiled
def factors_at(service: np.void, local_ms: int) -> tuple[float, float, float]:
    """Both factors at a local time, epoch milliseconds, and the lines that are usual; 1, 1 and 0 before a day."""
    usual = _usual(service["week_lines"], service["week_seen"])
    if usual > 0.0:
        smooth, stepped = _factors(service["week_lines"], usual, local_ms)
        return smooth, stepped, usual
    usual = _usual(service["day_lines"], service["day_seen"])
    if usual > 0.0:
        smooth, stepped = _factors(service["day_lines"], usual, local_ms)
        return smooth, stepped, usual
    return 1.0, 1.0, 0.0


@compiled
def factor_at(service: np.void, local_ms: int) -> float:
    """The seasonal factor of the kind that has been right more often."""
    smooth, stepped, _ = factors_at(service, local_ms)
    return min(max(stepped if service["stepped"] else smooth, FACTOR_MIN), FACTOR_MAX)


@compiled
def learn_season(service: np.void, lines: float, local_ms: int) -> None:
    """Take in a window's lines: into its hour, and which kind of season was right about it."""
    smooth, stepped, usual = factors_at(service, local_ms)
    if usual > 0.0:
        ratio = lines / usual
        service["smooth_error"] += ERROR_GAIN * ((ratio - smooth) * (ratio - smooth) - service["smooth_error"])
        service["stepped_error"] += ERROR_GAIN * ((ratio - stepped) * (ratio - stepped) - service["stepped_error"])
    service["hour_sum"] += lines
    service["hour_windows"] += 1


@compiled
def _fold(lines: FloatArray, seen: IntArray, hour: int, average: float) -> None:
    """Take in an hour's average; one that is far off what is known of such hours counts as less far."""
    if seen[hour] > 0:
        average = min(max(average, lines[hour] / OFF_MAX), lines[hour] * OFF_MAX + 1.0)
    seen[hour] += 1
    lines[hour] += (average - lines[hour]) * max(1.0 / seen[hour], KEPT_SHARE_MIN)


@compiled
def end_hour(service: np.void, hour: int, windows_per_hour: float) -> bool:
    """Begin another hour if ``hour`` is one, and take in the one before; whether that was done."""
    if hour == service["hour"]:
        return False
    folded = False
    count = int(service["hour_windows"])
    if count > 0 and count >= HOUR_WINDOWS_SHARE * windows_per_hour:
        average = float(service["hour_sum"]) / count
        ended = int(service["hour"]) + HOURS_AT_EPOCH
        _fold(service["day_lines"], service["day_seen"], ended % DAY_HOURS, average)
        _fold(service["week_lines"], service["week_seen"], ended % WEEK_HOURS, average)
        service["stepped"] = 1 if service["stepped_error"] < service["smooth_error"] else 0
        folded = True
    service["hour"] = hour
    service["hour_sum"] = 0.0
    service["hour_windows"] = 0
    return folded
