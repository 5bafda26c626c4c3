"""The service's rhythm by hour of the day and of the week, as a factor on what is usual.

Lines per window are averaged hour by hour. Once all hours of a day are known the factor is the hour's average over that
of all hours, in a straight line from the middle of one hour to that of the next; once all of a week are, by the week. Before, it is 1.
"""

from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.signals.records import DAY_HOURS, WEEK_HOURS

HOUR_MS: Final = 3_600_000
HOURS_AT_EPOCH: Final = 72
"""The epoch began on a Thursday; weeks begin on Monday."""
KEPT_SHARE_MIN: Final = 0.25
"""Weight of an hour in the average of hours like it, at least."""
HOUR_WINDOWS_SHARE: Final = 0.5
"""Of an hour's windows must be seen for it to count."""
FACTOR_MIN: Final = 0.05
FACTOR_MAX: Final = 20.0


@compiled
def _factor(lines: np.ndarray, seen: np.ndarray, hour: int, between: float) -> float:
    """The factor between the middles of an hour and of the next; 1 where not all hours were seen."""
    total = 0.0
    for k in range(len(lines)):
        if seen[k] == 0:
            return 1.0
        total += float(lines[k])
    if total <= 0.0:
        return 1.0
    here, there = float(lines[hour % len(lines)]), float(lines[(hour + 1) % len(lines)])
    share = (here + between * (there - here)) * len(lines) / total
    return min(max(share, FACTOR_MIN), FACTOR_MAX)


@compiled
def factor_at(service: np.void, time_ms: int) -> float:
    """The seasonal factor at a local time, milliseconds since the epoch."""
    shifted = time_ms - HOUR_MS // 2
    hour = shifted // HOUR_MS + HOURS_AT_EPOCH
    between = float(shifted % HOUR_MS) / HOUR_MS
    for k in range(WEEK_HOURS):
        if service["week_seen"][k] == 0:
            return _factor(service["day_lines"], service["day_seen"], hour, between)
    return _factor(service["week_lines"], service["week_seen"], hour, between)


@compiled
def _fold(lines: np.ndarray, seen: np.ndarray, hour: int, average: float) -> None:
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
        folded = True
    service["hour"] = hour
    service["hour_sum"] = 0.0
    service["hour_windows"] = 0
    return folded
