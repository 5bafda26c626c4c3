"""Shapes of a series that no single deviation shows: a value that no longer moves, a level that has come to stay.

A stuck value is judged against the longest time for which this series' value usually stays the same. That is learnt
like the longest usual pause, in event time, so that a series that rests every night is not stuck at night.

A new level is judged where an episode has stayed open: its anomalous values must have settled close to one another,
compared with their distance from what was expected. It is judged at certain times only (``shift_next_ms``), so that
:func:`next_shift` can tell before a row whether its verdict may have to reach the learner ahead of the next row.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import IntArray
from detector.compiled import compiled
from detector.episodes.records import ALWAYS_MS, DOWN, NEVER_MS, RECENT_VALUES, UP

CHANGES_MIN: Final = 200
"""Changes of its value before a series can be stuck: one that has hardly ever moved, but for an hour of trouble, is
constant by nature."""

RUN_FADES_MS: Final = 14 * 86_400_000
"""Without another like it, a longest run is forgotten after so long: a resting weekend is remembered at the next."""

RUN_GROWTH_MAX: Final = 4.0
"""Once known, the longest run grows at most so fast, so that one broken sensor does not hide the next."""

RUN_GAPS: Final = 10.0
"""Runs within so many usual pauses are always learnt in full."""

SETTLING_RATE: Final = 0.05
"""Weight of a new value in an episode's level: about twenty rows of memory."""

TIGHT_SHARE: Final = 0.25
"""A level has settled when its values keep within this share of their distance from the expected value, on average."""

NEAR_SHARE: Final = 0.5
"""The newest value must lie within this share of that distance from the level: what is on its way back is no level."""

ANOMALOUS_SHARE: Final = 0.9
"""Part of an episode's points that must be anomalous: what returns now and then is an incident, not a level."""

RETRY_PARTS: Final = 8
"""A level that has not settled is judged again after this part of the time that a first verdict takes."""

EARLY_PARTS: Final = 4
"""Where a drift was found, a level is judged after this part of that time."""


@compiled
def note_run(series: np.void, time_ms: int, value: float) -> None:
    """Note a sample's value before it becomes the newest one: the run of equal values goes on, or is learnt."""
    seen = int(series["seen"])
    if seen == 0 or int(series["same_ms"]) == NEVER_MS:
        series["same_ms"] = time_ms
        series["same_points"] = 1
        return
    if value == float(series["values"][(seen - 1) % RECENT_VALUES]):
        series["same_points"] = int(series["same_points"]) + 1
        return
    run_ms = float(int(series["last_ms"]) - int(series["same_ms"]))
    usual_ms = float(series["usual_run_ms"])
    kept_ms = usual_ms * max(0.0, 1.0 - float(time_ms - int(series["same_ms"])) / RUN_FADES_MS)
    changes = int(series["changes"])
    if changes < CHANGES_MIN:
        series["changes"] = changes + 1
    else:
        run_ms = min(run_ms, max(RUN_GROWTH_MAX * usual_ms, RUN_GAPS * float(series["gap_ms"])))
    series["usual_run_ms"] = max(kept_ms, run_ms)
    series["same_ms"] = time_ms
    series["same_points"] = 1


@compiled
def is_stuck(series: np.void, policy: np.void, time_ms: int) -> bool:
    """Whether the newest value, already noted, has stayed the same for longer than this series' values do."""
    runs = float(policy["stuck_runs"])
    if runs == 0.0 or int(series["changes"]) < CHANGES_MIN or int(series["same_points"]) < int(policy["stuck_points"]):
        return False
    run_ms = time_ms - int(series["same_ms"])
    return run_ms >= int(policy["stuck_min_ms"]) and float(run_ms) >= runs * float(series["usual_run_ms"])


@compiled
def verdict_after_ms(policy: np.void) -> int:
    """Time until a level may be judged for the first time; 0 means never."""
    after_ms = int(policy["shift_after_ms"])
    return after_ms // EARLY_PARTS if policy["drift_delta"] > 0.0 else after_ms


@compiled
def begin_settling(series: np.void, policy: np.void, time_ms: int, observed: float) -> None:
    """An episode has opened: from now on it may turn out to be a new level."""
    series["shift_next_ms"] = time_ms + verdict_after_ms(policy) if policy["shift_after_ms"] > 0 else ALWAYS_MS
    series["shift_level"] = observed
    series["shift_spread"] = 0.0
    series["shift_points"] = 1


@compiled
def settle(series: np.void, observed: float) -> None:
    """Follow the level of an open episode by one anomalous value."""
    points = int(series["shift_points"]) + 1
    series["shift_points"] = points
    level = float(series["shift_level"])
    spread = float(series["shift_spread"])
    rate = max(SETTLING_RATE, 1.0 / points)
    series["shift_spread"] = spread + (abs(observed - level) - spread) * rate
    series["shift_level"] = level + (observed - level) * rate


@compiled
def is_new_level(series: np.void, lane: int, policy: np.void, time_ms: int, expected: float, drifted_ms: int) -> bool:
    """Whether an anomalous row of an open lane makes its episode a new level; sets the time of the next verdict.

    ``drifted_ms`` is the time of the last drift, which makes a level of what it may be early.
    """
    if time_ms < int(series["shift_next_ms"]):
        return False
    after_ms = int(policy["shift_after_ms"])
    series["shift_next_ms"] = time_ms + after_ms // RETRY_PARTS + 1
    needed_ms = after_ms // EARLY_PARTS if drifted_ms >= int(series["started_ms"][lane]) else after_ms
    lasting = time_ms - int(series["detected_ms"][lane]) >= needed_ms
    enough = int(series["shift_points"]) >= int(policy["shift_points"])
    steady = float(series["anomalous_points"][lane]) >= ANOMALOUS_SHARE * float(series["points"][lane])
    if not (lasting and enough and steady) or series["flapping"][lane] != 0 or math.isnan(expected):
        return False
    level = float(series["shift_level"])
    newest = float(series["values"][(int(series["seen"]) - 1) % RECENT_VALUES])
    reach = abs(level - expected)
    return float(series["shift_spread"]) <= TIGHT_SHARE * reach and abs(newest - level) <= NEAR_SHARE * reach


@compiled
def next_shift(
    state: NDArray[np.void],
    drifts: NDArray[np.void],
    policies: NDArray[np.void],
    slots: IntArray,
    times_ms: IntArray,
    start: int,
) -> int:
    """Position after the first row from ``start`` on that may bring a new level; nothing is changed.

    That is a row at or after its series' ``shift_next_ms`` while an episode is open, or its drift's ``next_ms``. Any
    other series could open an episode, or drift, at any row from ``start`` on, and is then judged no earlier than the
    least :func:`verdict_after_ms` after it, and not before its ``shift_points``.
    """
    after_ms = ALWAYS_MS
    points = ALWAYS_MS
    for policy in policies:
        if policy["shift_after_ms"] > 0:
            after_ms = min(after_ms, verdict_after_ms(policy))
            points = min(points, int(policy["shift_points"]))
    if after_ms == ALWAYS_MS:
        return len(slots)
    earliest_ms = ALWAYS_MS
    for position in range(start, len(slots)):
        time_ms = int(times_ms[position])
        earliest_ms = min(earliest_ms, time_ms)
        slot = slots[position]
        series = state[slot]
        if policies[series["policy"]]["drift_delta"] > 0.0 and time_ms >= int(drifts[slot]["next_ms"]):
            return position + 1
        if series["open"][UP] != 0 or series["open"][DOWN] != 0:
            if time_ms >= int(series["shift_next_ms"]):
                return position + 1
        elif time_ms - earliest_ms >= after_ms and position - start + 1 >= points:
            return position + 1
    return len(slots)
