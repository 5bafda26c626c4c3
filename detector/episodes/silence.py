"""When a series has been silent for too long: how long it usually pauses, and the last moment that is still fine."""

from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.episodes.records import ALWAYS_MS, DOWN, UP

GAP_KEPT: Final = 0.99
"""Part of the longest gap that each sample leaves of it: halved after 69 samples without another like it."""

GAP_GROWTH_MAX: Final = 2.0
"""Once known, the longest gap grows at most so fast, so that one outage does not become the series' rhythm."""

GAPS_MIN: Final = 9
"""Gaps to be known before silence means anything: for samples at random the longest of nine is 2.8 times their mean."""

SILENT_GAPS: Final = 3.0
"""An episode outlives fewer missing samples than this, whatever its policy says: an hourly series is not silent yet."""


@compiled
def learn_gap(series: np.void, interval: float) -> None:
    """Note the time between two samples.

    The longest one of the recent past and not the mean, because a series that sends five samples at once and then
    pauses for ten minutes is not silent in between.
    """
    longest = float(series["gap_ms"])
    kept = longest * GAP_KEPT
    gaps = int(series["gaps"])
    if gaps < GAPS_MIN:
        series["gaps"] = gaps + 1
        series["gap_ms"] = max(kept, interval)
    else:
        series["gap_ms"] = max(kept, min(interval, GAP_GROWTH_MAX * longest))


@compiled
def has_open(series: np.void) -> bool:
    """Whether an episode is open that silence would close."""
    standing = series["stuck"] != 0 or series["variance"] != 0
    return bool(series["open"][UP] != 0 or series["open"][DOWN] != 0 or standing)


@compiled
def close_deadline_ms(series: np.void, policy: np.void) -> int:
    """After this time an open episode closes for want of samples."""
    if policy["silence_close_ms"] == 0 or not has_open(series):
        return ALWAYS_MS
    patience_ms = max(int(policy["silence_close_ms"]), int(SILENT_GAPS * float(series["gap_ms"])))
    return int(series["last_ms"]) + patience_ms


@compiled
def is_watched(series: np.void, policy: np.void) -> bool:
    """Whether the silence of this series would open an episode."""
    return bool(policy["no_data_intervals"] > 0.0 and series["no_data"] == 0 and series["gaps"] >= GAPS_MIN)


@compiled
def no_data_deadline_ms(series: np.void, policy: np.void) -> int:
    """After this time a watched series has no data."""
    if not is_watched(series, policy):
        return ALWAYS_MS
    patience_ms = max(int(policy["no_data_min_ms"]), int(float(policy["no_data_intervals"]) * float(series["gap_ms"])))
    return max(int(series["last_ms"]), int(series["excused_ms"])) + patience_ms


@compiled
def deadline_ms(series: np.void, policy: np.void) -> int:
    """At grid points up to this time no timer of the series fires."""
    return min(close_deadline_ms(series, policy), no_data_deadline_ms(series, policy))


@compiled
def note_deadline(clock: np.void, series: np.void, policy: np.void) -> None:
    """Keep the clock's due time no later than this series' deadline, which any of its rows may have moved."""
    if has_open(series) or policy["no_data_intervals"] > 0.0:
        clock["due_ms"] = min(int(clock["due_ms"]), deadline_ms(series, policy))


@compiled
def is_due(clock: np.void, time_ms: int, grid_ms: int, excusing: bool) -> bool:  # noqa: FBT001 - a kernel's flag
    """Whether timers may have to fire before a row of this time; moves the next grid point where they need not.

    With ``excusing`` a row that makes the watermark skip a grid point is due, too: some series may have to be excused.
    """
    if time_ms < clock["next_ms"]:
        return False
    point_ms = time_ms - time_ms % grid_ms
    if point_ms > clock["due_ms"] or (excusing and time_ms - clock["watermark_ms"] > grid_ms):
        return True
    clock["next_ms"] = point_ms + grid_ms
    return False
