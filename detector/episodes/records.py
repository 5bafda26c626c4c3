"""The shape of one series' episode state, of one policy row and of one output row.

Two lanes per series: lane ``UP`` follows ``metric.spike``, lane ``DOWN`` follows ``metric.dip``. ``metric.no_data``,
``metric.stuck`` and ``metric.variance`` have fields of their own, since they follow no single scores, and
``metric.level_shift`` is what a lane may turn into. What every row touches stands first, so that a series in which
nothing happens costs two cache lines.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

UP: Final = 0
DOWN: Final = 1
LANES: Final = 2
NO_DATA: Final = 2
"""Stands where a lane does in an output row; the series record has no lane of this number, nor of the next three."""
LEVEL_SHIFT: Final = 3
STUCK: Final = 4
VARIANCE: Final = 5
NO_LANE: Final = -1

CHANGES_MAX: Final = LANES + 5
"""Transitions that one row, or one series at one grid point, can make at most: one per lane, the end of a silence, a
stuck and a variance episode's begin or end, and both events of a level shift."""

NOTHING: Final = 0
OPENED: Final = 1
UPDATED: Final = 2
CLOSED: Final = 3

RECOVERED: Final = 0
SILENT: Final = 1
RESUMED: Final = 2
EXPIRED: Final = 3
EVICTED: Final = 4
ACCEPTED: Final = 5
SUPERSEDED: Final = 6

RECENT_VALUES: Final = 16
"""Values kept per series for the evidence of an event: two cache lines, and enough for a sparkline."""

OPEN_WINDOW_MAX: Final = 16
"""The times of this many rows are kept, to know when the first anomalous row of an opening window was."""

HISTORY_ROWS: Final = 64
"""Bits of history per lane."""

NEVER_MS: Final = int(np.iinfo(np.int64).min)
"""A time before all times."""

ALWAYS_MS: Final = int(np.iinfo(np.int64).max)
"""A time after all times."""

SERIES_DTYPE: Final = np.dtype(
    [
        ("last_ms", np.int64),
        ("interval_ms", np.float64),
        ("seen", np.int64),  # rows with a value
        ("scored", np.int64),  # rows with a score
        ("history", np.uint64, (LANES,)),  # anomalous flags of scored rows, the newest in bit 0
        ("policy", np.int32),
        ("open", np.uint8, (LANES,)),
        ("triggered", np.uint8, (LANES,)),  # the condition to open held at the last row
        ("gap_ms", np.float64),  # longest usual time between samples
        ("same_ms", np.int64),  # since when the value has been the same
        ("usual_run_ms", np.float64),  # longest usual time for which it is
        ("same_points", np.uint32),
        ("changes", np.uint8),  # of the value, no longer counted when they are enough
        ("stuck", np.uint8),  # an episode of that kind is open
        ("variance", np.uint8),  # an episode of that kind is open
        ("spread", np.float64),  # recent mean deviation, in bands
        ("lean", np.float64),  # the same with its sign
        ("usual_square", np.float64),  # long-term mean of the squared deviation
        ("spread_rows", np.uint16),  # rows that these know of, as far as it counts
        ("wide_rows", np.uint16),  # wide rows in succession; while an episode is open, calm ones
        ("values", np.float64, (RECENT_VALUES,)),  # ring over `seen`
        ("anomalous_ms", np.int64, (OPEN_WINDOW_MAX,)),  # ring over `scored`, written on anomalous rows only
        ("since_open", np.uint64, (LANES,)),  # one bit per row after the opening one
        ("cooldown_until_ms", np.int64, (LANES,)),
        ("started_ms", np.int64, (LANES,)),
        ("detected_ms", np.int64, (LANES,)),
        ("anomalous_last_ms", np.int64, (LANES,)),
        ("emitted_ms", np.int64, (LANES,)),
        ("points", np.int64, (LANES,)),
        ("anomalous_points", np.int64, (LANES,)),
        ("peak_score", np.float64, (LANES,)),
        ("peak_deviation", np.float64, (LANES,)),
        ("peak_observed", np.float64, (LANES,)),
        ("peak_expected", np.float64, (LANES,)),
        ("peak_ms", np.int64, (LANES,)),
        ("sequence", np.int64, (LANES,)),
        ("episode", np.int64, (LANES,)),
        ("level", np.int64, (LANES,)),
        ("flapping", np.uint8, (LANES,)),
        ("gaps", np.uint8),  # intervals that gap_ms knows of, no longer counted when they are enough
        ("no_data", np.uint8),  # an episode of that kind is open
        ("no_data_episode", np.uint32),
        ("no_data_ms", np.int64),  # the grid point that opened the last one
        ("excused_ms", np.int64),  # for metric.no_data, silence counts from here if not from a later sample
        ("peak_novelty", np.float64, (LANES,)),
        ("shift_next_ms", np.int64),  # from this time on an open episode may be a new level
        ("shift_level", np.float64),  # recent mean of an open episode's anomalous values
        ("shift_spread", np.float64),  # recent mean distance from it
        ("shift_points", np.uint32),
        ("shift_episode", np.uint32),
        ("stuck_episode", np.uint32),
        ("stuck_ms", np.int64),  # the sample that opened the last one
        ("variance_episode", np.uint32),
        ("variance_points", np.uint32),
        ("variance_started_ms", np.int64),  # first of the wide rows
        ("variance_ms", np.int64),  # the sample that opened the last one
        ("variance_last_ms", np.int64),  # last row that was not calm
        ("variance_usual", np.float64),  # usual spread at its first row, in bands
        ("variance_peak", np.float64),  # largest spread
    ],
    align=True,
)

LATER_FIELDS: Final[Mapping[str, float]] = {
    "gap_ms": 0.0,
    "gaps": 0,
    "no_data": 0,
    "no_data_episode": 0,
    "no_data_ms": NEVER_MS,
    "excused_ms": NEVER_MS,
    "same_ms": NEVER_MS,
    "usual_run_ms": 0.0,
    "same_points": 0,
    "changes": 0,
    "stuck": 0,
    "peak_novelty": np.nan,
    "shift_next_ms": ALWAYS_MS,
    "shift_level": 0.0,
    "shift_spread": 0.0,
    "shift_points": 0,
    "shift_episode": 0,
    "stuck_episode": 0,
    "stuck_ms": NEVER_MS,
    "variance": 0,
    "spread": 0.0,
    "lean": 0.0,
    "usual_square": 0.0,
    "spread_rows": 0,
    "wide_rows": 0,
    "variance_episode": 0,
    "variance_points": 0,
    "variance_started_ms": NEVER_MS,
    "variance_ms": NEVER_MS,
    "variance_last_ms": NEVER_MS,
    "variance_usual": 0.0,
    "variance_peak": 0.0,
}
"""Fields that the first snapshots of format 1 lack, with their values in a series of which nothing is known."""

POLICY_DTYPE: Final = np.dtype(
    [
        ("up", np.uint8),
        ("down", np.uint8),
        ("deviation_min", np.float64),
        ("novelty_min", np.float64),  # infinite: never
        ("abs_min", np.float64),
        ("rel_min", np.float64),
        ("volume_min", np.float64),
        ("open_points", np.int64),
        ("open_mask", np.uint64),
        ("close_points", np.int64),
        ("close_mask", np.uint64),
        ("cooldown_ms", np.int64),
        ("flap_crossings", np.int64),
        ("flap_mask", np.uint64),
        ("update_interval_ms", np.int64),
        ("error_score", np.float64),
        ("critical_score", np.float64),
        ("silence_close_ms", np.int64),  # 0: never
        ("no_data_intervals", np.float64),  # 0: never
        ("no_data_min_ms", np.int64),
        ("no_data_level", np.int64),
        ("shift_after_ms", np.int64),  # 0: never
        ("shift_points", np.int64),
        ("stuck_runs", np.float64),  # 0: never
        ("stuck_min_ms", np.int64),
        ("stuck_points", np.int64),
        ("stuck_level", np.int64),
        ("spread_ratio", np.float64),  # 0: never
        ("spread_points", np.int64),
        ("spread_level", np.int64),
        ("drift_delta", np.float64),  # 0: drifts are not looked for
    ],
    align=True,
)

OUTPUT_DTYPE: Final = np.dtype(
    [
        ("position", np.int64),
        ("lane", np.int64),
        ("state", np.int64),
        ("reason", np.int64),  # why it closed, if it did
        ("slot", np.int64),
        ("time_ms", np.int64),
        ("last_ms", np.int64),  # of the last of the recent values
        ("sequence", np.int64),
        ("episode", np.int64),
        ("level", np.int64),
        ("flapping", np.uint8),
        ("started_ms", np.int64),
        ("detected_ms", np.int64),
        ("ended_ms", np.int64),
        ("points", np.int64),
        ("anomalous_points", np.int64),
        ("interval_ms", np.float64),
        ("gap_ms", np.float64),
        ("peak_score", np.float64),
        ("peak_deviation", np.float64),
        ("peak_observed", np.float64),
        ("peak_expected", np.float64),
        ("peak_ms", np.int64),
        ("peak_novelty", np.float64),
        ("old_level", np.float64),
        ("new_level", np.float64),
        ("usual_run_ms", np.float64),
        ("spread", np.float64),
        ("lean", np.float64),
        ("usual_spread", np.float64),
        ("peak_spread", np.float64),
        ("seen", np.int64),
        ("recent", np.float64, (RECENT_VALUES,)),  # the newest last, as many as were seen
    ],
    align=True,
)

CLOCK_DTYPE: Final = np.dtype(
    [
        ("watermark_ms", np.int64),
        ("next_ms", np.int64),  # the first grid point that the watermark has not reached
        ("drifts", np.int64),  # found so far
        ("due_ms", np.int64),  # no timer fires at or before this time; may be too early, never too late
    ],
    align=True,
)
"""The partition's time, as its timers see it, and what was counted on the way."""


def blank_series(size: int) -> NDArray[np.void]:
    """Records of ``size`` series of which nothing is known yet."""
    records = np.zeros(size, SERIES_DTYPE)
    for name in ("last_ms", "cooldown_until_ms", "peak_ms", "emitted_ms", "no_data_ms", "excused_ms"):
        records[name] = NEVER_MS
    for name in ("same_ms", "stuck_ms", "variance_started_ms", "variance_ms", "variance_last_ms"):
        records[name] = NEVER_MS
    records["shift_next_ms"] = ALWAYS_MS
    records["peak_novelty"] = np.nan
    records["interval_ms"] = np.nan
    return records


def low_bits(count: int) -> np.uint64:
    """A mask of the newest ``count`` rows of a history."""
    assert 0 <= count <= HISTORY_ROWS
    return np.uint64((1 << count) - 1)
