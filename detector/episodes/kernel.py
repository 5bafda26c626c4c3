"""The rows of a partition, judged in order: what each says without a score, then its spread, then its lanes.

Laws: a close follows an open; one lane has at most one open episode; a series depends on its own rows and, by its
timers, on the watermark. Rows without a score (warm-up) enter no history. All state is in the arrays, so any cut of the
rows into calls gives the same bits.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray, IntArray
from detector.compiled import compiled
from detector.episodes.drift import is_shifted, note_drift
from detector.episodes.lanes import ZERO, end_episode, step_lane
from detector.episodes.outputs import emit, emit_moved, emit_no_data, emit_shift, emit_stuck, emit_variance
from detector.episodes.records import (
    ACCEPTED,
    CHANGES_MAX,
    CLOSED,
    DOWN,
    LANES,
    NEVER_MS,
    NO_LANE,
    NOTHING,
    OPEN_WINDOW_MAX,
    OPENED,
    RECENT_VALUES,
    RECOVERED,
    RESUMED,
    SUPERSEDED,
    UP,
)
from detector.episodes.shapes import is_new_level, is_stuck, note_run
from detector.episodes.silence import is_due, learn_gap, note_deadline
from detector.episodes.spread import is_usual_now, outlier_min, step_spread

NOVEL_DEVIATION_MIN: Final = 1.0
"""Something never seen counts from the edge of the band on, whatever deviation the policy asks of what is not new."""

INTERVAL_RATE: Final = 0.1
"""Weight of a new interval: about ten rows of memory."""

INTERVAL_GROWTH_MAX: Final = 2.0
"""A gap counts as at most this many intervals, so that one outage does not become the series' rhythm."""


@compiled
def anomalous_lane(
    observed: float, score: float, deviation: float, expected: float, deviation_min: float, policy: np.void
) -> int:
    """Lane in which a row of at least ``deviation_min`` is anomalous after the policy's gates, or ``NO_LANE``.

    A learner without an expected value (NaN) cannot tell directions: its rows go to lane ``UP``, and the gates on
    absolute and relative distance, which need an expected value, do not apply.
    """
    if math.isnan(score) or not deviation >= deviation_min:
        return NO_LANE
    known = not math.isnan(expected)
    distance = abs(observed - expected) if known else math.inf
    volume = max(abs(observed), abs(expected)) if known else abs(observed)
    quiet = distance < float(policy["abs_min"]) or (known and distance < float(policy["rel_min"]) * abs(expected))
    if quiet or volume < float(policy["volume_min"]):
        return NO_LANE
    if observed < expected:
        return DOWN if policy["down"] else NO_LANE
    return UP if policy["up"] and observed != expected else NO_LANE


@compiled
def observe(series: np.void, time_ms: int, value: float) -> None:
    """Note one row's value and time, scored or not."""
    note_run(series, time_ms, value)
    seen = int(series["seen"])
    series["values"][seen % RECENT_VALUES] = value
    series["seen"] = seen + 1
    if int(series["last_ms"]) != NEVER_MS:
        interval = float(time_ms - int(series["last_ms"]))
        mean = float(series["interval_ms"])
        if math.isnan(mean):
            series["interval_ms"] = interval
        else:
            series["interval_ms"] = mean + INTERVAL_RATE * (min(interval, INTERVAL_GROWTH_MAX * mean) - mean)
        learn_gap(series, interval)
    series["last_ms"] = time_ms


@compiled
def accept_level(
    series: np.void, lane: int, policy: np.void, position: int, slot: int, outputs: NDArray[np.void]
) -> int:
    """End an open episode whose level has come to stay, and tell the new level; returns how many rows were written."""
    time_ms = int(series["last_ms"])
    end_episode(series, lane, policy, time_ms)
    emit(outputs[0], series, lane, CLOSED, ACCEPTED, position, slot, time_ms)
    emit_shift(outputs[1], series, lane, OPENED, position, slot, time_ms)
    emit_shift(outputs[2], series, lane, CLOSED, position, slot, time_ms)
    return 3


@compiled
def note_sample(
    series: np.void,
    policy: np.void,
    time_ms: int,
    value: float,
    position: int,
    slot: int,
    outputs: NDArray[np.void],
    filled: int,
) -> int:
    """Note one row, scored or not, and write what it says without a score to ``outputs`` from ``filled`` on.

    Returns how many transitions are in ``outputs`` then.
    """
    level = int(policy["stuck_level"])
    if series["no_data"] != 0:
        silence_level = int(policy["no_data_level"])
        emit_no_data(outputs[filled], series, silence_level, CLOSED, RESUMED, position, slot, time_ms)
        filled += 1
    if series["stuck"] != 0 and value != float(series["values"][(int(series["seen"]) - 1) % RECENT_VALUES]):
        emit_stuck(outputs[filled], series, level, CLOSED, RECOVERED, position, slot, time_ms)
        filled += 1
    observe(series, time_ms, value)
    if series["stuck"] == 0 and is_stuck(series, policy, time_ms):
        emit_stuck(outputs[filled], series, level, OPENED, RECOVERED, position, slot, time_ms)
        filled += 1
    return filled


@compiled
def judge_spread(
    series: np.void,
    policy: np.void,
    time_ms: int,
    signed: float,
    position: int,
    slot: int,
    outputs: NDArray[np.void],
    filled: int,
) -> int:
    """Judge the spread at one scored row, writing transitions to ``outputs`` from ``filled`` on.

    ``signed`` is its deviation, negative below the expected value; NaN where there is none, which tells no side.
    What its first rows opened as a spike or dip ends with it. An episode that closes because what is usual has grown to
    it, and not because it fell, is accepted. Returns how many transitions are in ``outputs`` then.
    """
    if policy["spread_ratio"] == 0.0 or math.isnan(signed):
        return filled
    level = int(policy["spread_level"])
    change = step_spread(series, policy, time_ms, signed)
    if change == OPENED:
        for lane in range(LANES):
            if series["open"][lane] != 0:
                end_episode(series, lane, policy, time_ms)
                emit(outputs[filled], series, lane, CLOSED, SUPERSEDED, position, slot, time_ms)
                started_ms = min(int(series["started_ms"][lane]), int(series["variance_started_ms"]))
                series["variance_started_ms"] = started_ms
                filled += 1
        emit_variance(outputs[filled], series, level, OPENED, RECOVERED, position, slot, time_ms)
        return filled + 1
    if change == CLOSED:
        reason = ACCEPTED if is_usual_now(series, policy) else RECOVERED
        emit_variance(outputs[filled], series, level, CLOSED, reason, position, slot, time_ms)
        return filled + 1
    return filled


@compiled
def deviation_least(series: np.void, policy: np.void, novelty: float) -> float:
    """Deviation from which a row of this novelty is anomalous now."""
    least = float(policy["deviation_min"])
    if novelty >= float(policy["novelty_min"]):
        least = min(least, NOVEL_DEVIATION_MIN)
    return max(least, outlier_min(series))


@compiled
def judge_lanes(
    series: np.void,
    policy: np.void,
    time_ms: int,
    observed: float,
    score: float,
    deviation: float,
    novelty: float,
    expected: float,
    drifted_ms: int,
    position: int,
    slot: int,
    outputs: NDArray[np.void],
    filled: int,
) -> int:
    """Move both lanes on by one scored row, writing transitions to ``outputs`` from ``filled`` on; returns the end."""
    hit = anomalous_lane(observed, score, deviation, expected, deviation_least(series, policy, novelty), policy)
    if hit != NO_LANE:
        series["anomalous_ms"][int(series["scored"]) % OPEN_WINDOW_MAX] = time_ms
    for lane in range(LANES):
        if lane != hit and series["history"][lane] == ZERO and series["open"][lane] == 0:
            continue
        change = step_lane(series, lane, policy, time_ms, lane == hit, observed, score, deviation, novelty, expected)
        if (
            lane == hit
            and series["open"][lane] != 0
            and is_new_level(series, lane, policy, time_ms, expected, drifted_ms)
        ):
            filled += accept_level(series, lane, policy, position, slot, outputs[filled:])
        elif change != NOTHING:
            emit(outputs[filled], series, lane, change, RECOVERED, position, slot, time_ms)
            filled += 1
    return filled


@compiled
def judge_moved(
    series: np.void,
    drift: np.void,
    policy: np.void,
    position: int,
    slot: int,
    outputs: NDArray[np.void],
    filled: int,
) -> int:
    """Tell the level of a drift that has stayed inside the band, if it has; returns the end of ``outputs``."""
    time_ms = int(series["last_ms"])
    if not is_shifted(series, drift, policy, time_ms):
        return filled
    emit_moved(outputs[filled], series, drift, OPENED, position, slot, time_ms)
    emit_moved(outputs[filled + 1], series, drift, CLOSED, position, slot, time_ms)
    return filled + 2


@compiled
def judge_rows(
    state: NDArray[np.void],
    drifts: NDArray[np.void],
    policies: NDArray[np.void],
    slots: IntArray,
    times_ms: IntArray,
    values: FloatArray,
    scores: FloatArray,
    deviations: FloatArray,
    novelties: FloatArray,
    expecteds: FloatArray,
    lowers: FloatArray,
    uppers: FloatArray,
    start: int,
    clock: np.void,
    grid_ms: int,
    excusing: bool,  # noqa: FBT001 - a kernel's flag
    outputs: NDArray[np.void],
) -> tuple[int, int]:
    """Judge the rows from ``start`` in order, writing transitions to ``outputs`` and moving ``clock`` on.

    ``drifts`` has a record per slot where a policy looks for drifts, else none. Returns the position of the first row
    not judged and the number of transitions written. That row has no room in ``outputs``, which the caller drains; or
    it reaches a grid point and timers may be due, which the caller lets fire.
    """
    filled = 0
    for position in range(start, len(slots)):
        if filled + CHANGES_MAX > len(outputs):
            return position, filled
        time_ms = int(times_ms[position])
        if is_due(clock, time_ms, grid_ms, excusing):
            return position, filled
        clock["watermark_ms"] = max(int(clock["watermark_ms"]), time_ms)
        series = state[slots[position]]
        policy = policies[series["policy"]]
        slot = int(slots[position])
        observed = float(values[position])
        filled = note_sample(series, policy, time_ms, observed, position, slot, outputs, filled)
        score = float(scores[position])
        if math.isnan(score):
            note_deadline(clock, series, policy)
            continue
        series["scored"] = int(series["scored"]) + 1
        deviation = float(deviations[position])
        expected = float(expecteds[position])
        signed = deviation if observed >= expected else -deviation
        if math.isnan(expected):
            signed = math.nan
        filled = judge_spread(series, policy, time_ms, signed, position, slot, outputs, filled)
        drifting = policy["drift_delta"] > 0.0
        drifted_ms = NEVER_MS
        if drifting:
            half_width = 0.5 * (float(uppers[position]) - float(lowers[position]))
            if note_drift(series, drifts[slot], policy, time_ms, observed, signed, half_width):
                clock["drifts"] = int(clock["drifts"]) + 1
            drifted_ms = int(drifts[slot]["found_ms"])
        filled = judge_lanes(
            series,
            policy,
            time_ms,
            observed,
            score,
            deviation,
            float(novelties[position]),
            expected,
            drifted_ms,
            position,
            slot,
            outputs,
            filled,
        )
        if drifting:
            filled = judge_moved(series, drifts[slot], policy, position, slot, outputs, filled)
        note_deadline(clock, series, policy)
    return len(slots), filled
