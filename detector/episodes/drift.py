"""Drift: the mean of a series' deviations has changed, found by ADWIN; and whether that is a lasting new level.

ADWIN keeps a window of what it was given as an exponential histogram: level i holds up to five buckets of 2^i values
each, as their sum and the sum of their squared distances from their mean. Every 32 values it asks of each cut between
buckets whether the means before and after it differ by more than chance allows, at significance ``delta``; if so, there
is a drift, and the window begins anew. The same detections as ``river.drift.ADWIN`` with its defaults, as long as the
window has room: beyond 20,000 values the oldest are forgotten.

Source: A. Bifet, R. Gavalda (2007), "Learning from Time-Changing Data with Adaptive Windowing", SIAM SDM, 443-448; the
sums of squares after B. Babcock et al. (2003), "Maintaining Variance and k-Medians over Data Stream Windows", PODS.

A drift found without an open episode is a shift that may stay inside the band. It is one if the level still lies off
and has settled after a part of the time that a level takes.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.compiled import compiled
from detector.episodes.records import ALWAYS_MS, DOWN, NEVER_MS, UP
from detector.episodes.shapes import RETRY_PARTS, SETTLING_RATE, verdict_after_ms

LEVELS: Final = 12
"""Levels of buckets."""

BUCKETS_MAX: Final = 5
"""Buckets of a level before the two oldest become one of the next."""

CLOCK: Final = 32
"""Values between two searches."""

SIDE_MIN: Final = 5
"""Values on either side of a cut, at least."""

GRACE: Final = 10
"""A window of no more values is not searched."""

ROW_MAX: Final = 3.0
"""Bands that one row counts at most: an outlier is no drift."""

JUMP_MIN: Final = 0.4
"""Bands: a smaller change of the mean is no level of its own."""

HELD_SHARE: Final = 0.5
"""Part of the shift that must be left: what has gone back was an excursion."""

SETTLED_SHARE: Final = 0.5
"""A shifted level has settled when its values keep within this share of the shift, on average."""

DRIFT_DTYPE: Final = np.dtype(
    [
        ("width", np.int64),  # values in the window
        ("ticks", np.int64),  # values since it began
        ("total", np.float64),
        ("squares", np.float64),  # sum of squared distances from the mean
        ("counts", np.uint8, (LEVELS,)),  # buckets per level
        ("totals", np.float64, (LEVELS, BUCKETS_MAX + 1)),  # the oldest first
        ("scatters", np.float64, (LEVELS, BUCKETS_MAX + 1)),
        ("found_ms", np.int64),  # the last drift
        ("next_ms", np.int64),  # from this time on its shift may be a new level; ALWAYS_MS: there is none
        ("before", np.float64),  # level before it, in the unit of the series
        ("jump", np.float64),  # and its height
        ("level", np.float64),  # recent mean of the values
        ("spread", np.float64),  # recent mean distance from it
        ("points", np.uint32),  # values since the drift
    ],
    align=True,
)
"""One series' window and what its last drift may become: 1,256 bytes."""


def blank_drift() -> NDArray[np.void]:
    """One record, of a series of which nothing is known."""
    record = np.zeros(1, DRIFT_DTYPE)
    record["found_ms"] = NEVER_MS
    record["next_ms"] = ALWAYS_MS
    record["level"] = np.nan
    return record


@compiled
def clear_window(window: np.void) -> None:
    """Begin a window anew."""
    window["width"] = 0
    window["ticks"] = 0
    window["total"] = 0.0
    window["squares"] = 0.0
    for level in range(LEVELS):
        window["counts"][level] = 0


@compiled
def take_oldest(window: np.void, level: int, buckets: int) -> None:
    """Take the oldest buckets off a level."""
    left = int(window["counts"][level]) - buckets
    for index in range(left):
        window["totals"][level][index] = window["totals"][level][index + buckets]
        window["scatters"][level][index] = window["scatters"][level][index + buckets]
    window["counts"][level] = left


@compiled
def add_bucket(window: np.void, level: int, total: float, scatter: float) -> None:
    """Put a bucket on a level, as its newest."""
    count = int(window["counts"][level])
    window["totals"][level][count] = total
    window["scatters"][level][count] = scatter
    window["counts"][level] = count + 1


@compiled
def forget_oldest(window: np.void, level: int) -> None:
    """Take the oldest bucket out of the window."""
    size = 1 << level
    total = float(window["totals"][level][0])
    scatter = float(window["scatters"][level][0])
    width = int(window["width"]) - size
    rest = float(window["total"]) - total
    distance = total / size - rest / width
    window["width"] = width
    window["total"] = rest
    window["squares"] = float(window["squares"]) - (scatter + size * width * distance * distance / (size + width))
    take_oldest(window, level, 1)


@compiled
def insert(window: np.void, value: float) -> None:
    """Add a value, and join buckets where a level has too many."""
    width = int(window["width"])
    if width > 0:
        distance = value - float(window["total"]) / width
        window["squares"] = float(window["squares"]) + width * distance * distance / (width + 1)
    window["width"] = width + 1
    window["total"] = float(window["total"]) + value
    add_bucket(window, 0, value, 0.0)
    for level in range(LEVELS):
        if int(window["counts"][level]) <= BUCKETS_MAX:
            return
        if level == LEVELS - 1:
            forget_oldest(window, level)
            return
        size = 1 << level
        first, second = float(window["totals"][level][0]), float(window["totals"][level][1])
        distance = first / size - second / size
        scatter = float(window["scatters"][level][0]) + float(window["scatters"][level][1])
        take_oldest(window, level, 2)
        add_bucket(window, level + 1, first + second, scatter + size * size * distance * distance / (size + size))


@compiled
def find_cut(window: np.void, delta: float) -> tuple[float, float]:
    """Means before and after the cut that is chance least of all; NaN where each may be."""
    width = float(window["width"])
    chance = math.log(2.0 * math.log(width) / delta)
    mean_square = float(window["squares"]) / width
    means = math.nan, math.nan
    clearest = 1.0
    before = 0.0
    total_before = 0.0
    after = width
    total_after = float(window["total"])
    for level in range(LEVELS - 1, -1, -1):
        size = float(1 << level)
        for index in range(int(window["counts"][level])):
            bucket = float(window["totals"][level][index])
            before += size
            after -= size
            total_before += bucket
            total_after -= bucket
            if before < SIDE_MIN or after < SIDE_MIN:
                continue
            mean_before, mean_after = total_before / before, total_after / after
            parts = 1.0 / (before - SIDE_MIN + 1.0) + 1.0 / (after - SIDE_MIN + 1.0)
            least = math.sqrt(2.0 * parts * mean_square * chance) + 2.0 / 3.0 * chance * parts
            if abs(mean_after - mean_before) > clearest * least:
                clearest = abs(mean_after - mean_before) / least
                means = mean_before, mean_after
    return means


@compiled
def step_window(window: np.void, value: float, delta: float) -> tuple[float, float]:
    """Add one value; the means before and after where there is a drift, which ends the window, else NaN."""
    insert(window, value)
    window["ticks"] = int(window["ticks"]) + 1
    if int(window["ticks"]) % CLOCK != 0 or int(window["width"]) <= GRACE:
        return math.nan, math.nan
    means = find_cut(window, delta)
    if not math.isnan(means[0]):
        clear_window(window)
    return means


@compiled
def follow_level(drift: np.void, observed: float) -> None:
    """Follow the level of the values and their mean distance from it."""
    level = float(drift["level"])
    points = int(drift["points"]) + 1
    drift["points"] = points
    if math.isnan(level):
        drift["level"] = observed
        return
    spread = float(drift["spread"])
    drift["spread"] = spread + (abs(observed - level) - spread) * SETTLING_RATE
    drift["level"] = level + (observed - level) * SETTLING_RATE


@compiled
def note_drift(
    series: np.void, drift: np.void, policy: np.void, time_ms: int, observed: float, signed: float, half_width: float
) -> bool:
    """Learn one scored row; tells whether there is a drift at it.

    ``signed`` is its deviation with its side, ``half_width`` half of the width of its band, which together tell how far
    the level has moved in the unit of the series; NaN where the learner has no expected value, and so no sides.
    """
    follow_level(drift, observed)
    if math.isnan(signed):
        return False
    before, after = step_window(drift, min(max(signed, -ROW_MAX), ROW_MAX), float(policy["drift_delta"]))
    jump = after - before
    if math.isnan(jump):
        return False
    drift["found_ms"] = time_ms
    drift["points"] = 0
    drift["jump"] = jump * half_width
    drift["before"] = float(drift["level"]) - jump * half_width
    calm = series["open"][UP] == 0 and series["open"][DOWN] == 0 and series["variance"] == 0
    away = abs(jump) >= JUMP_MIN and abs(after) > abs(before)
    moved = calm and away and policy["shift_after_ms"] > 0 and 0.0 < half_width < math.inf
    drift["next_ms"] = time_ms + verdict_after_ms(policy) if moved else ALWAYS_MS
    return True


@compiled
def is_shifted(series: np.void, drift: np.void, policy: np.void, time_ms: int) -> bool:
    """Whether the shift of the last drift has stayed and is a new level; sets the time of the next verdict.

    To be asked at every row, after its lanes: what opens an episode is judged as that.
    """
    if series["open"][UP] != 0 or series["open"][DOWN] != 0 or series["variance"] != 0:
        drift["next_ms"] = ALWAYS_MS
    if time_ms < int(drift["next_ms"]):
        return False
    after_ms = int(policy["shift_after_ms"])
    over = time_ms - int(drift["found_ms"]) >= after_ms
    drift["next_ms"] = ALWAYS_MS if over else time_ms + after_ms // RETRY_PARTS + 1
    moved = float(drift["level"]) - float(drift["before"])
    jump = float(drift["jump"])
    held = moved * jump > 0.0 and abs(moved) >= HELD_SHARE * abs(jump)
    settled = float(drift["spread"]) <= SETTLED_SHARE * abs(moved)
    if not (held and settled) or int(drift["points"]) < int(policy["shift_points"]):
        return False
    drift["next_ms"] = ALWAYS_MS
    return True
