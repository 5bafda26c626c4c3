"""The life of an episode, row by row: watch, open, follow, close.

::

              m of n rows anomalous,                 k of n rows normal,
              not cooling down                       not flapping
    watching ─────────────────────────▶ open ─────────────────────────▶ cooling down ──▶ watching
              or one row novel enough   │  ▲   or its level has come     (event time)
                                        └──┘   to stay
                                  updated: interval, severity rises, flapping starts

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
from detector.episodes.outputs import emit, emit_no_data, emit_shift, emit_stuck
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
    UP,
    UPDATED,
)
from detector.episodes.shapes import begin_settling, is_new_level, is_stuck, note_run, settle
from detector.episodes.silence import is_due, learn_gap, note_deadline

ZERO: Final = np.uint64(0)
ONE: Final = np.uint64(1)
EVEN_BITS: Final = np.uint64(0x5555555555555555)
EVEN_PAIRS: Final = np.uint64(0x3333333333333333)
EVEN_NIBBLES: Final = np.uint64(0x0F0F0F0F0F0F0F0F)
COUNT_BITS: Final = np.uint64(0x7F)
SHIFTS: Final = (np.uint64(2), np.uint64(4), np.uint64(8), np.uint64(16), np.uint64(32))

NOVEL_DEVIATION_MIN: Final = 1.0
"""Something never seen counts from the edge of the band on, whatever deviation the policy asks of what is not new."""

INTERVAL_RATE: Final = 0.1
"""Weight of a new interval: about ten rows of memory."""

INTERVAL_GROWTH_MAX: Final = 2.0
"""A gap counts as at most this many intervals, so that one outage does not become the series' rhythm."""


@compiled
def popcount(bits: np.uint64) -> int:
    """Number of set bits.

    Adds neighbours instead of multiplying, because a wrapping product warns in plain Python.
    Source: H. S. Warren, Hacker's Delight, 2nd ed., section 5-1.
    """
    bits = bits - ((bits >> ONE) & EVEN_BITS)
    bits = (bits & EVEN_PAIRS) + ((bits >> SHIFTS[0]) & EVEN_PAIRS)
    bits = (bits + (bits >> SHIFTS[1])) & EVEN_NIBBLES
    bits = bits + (bits >> SHIFTS[2])
    bits = bits + (bits >> SHIFTS[3])
    bits = bits + (bits >> SHIFTS[4])
    return int(bits & COUNT_BITS)


@compiled
def highest_bit(bits: np.uint64) -> int:
    """Index of the highest set bit, which is the age in rows of the oldest flag; -1 if none is set."""
    index = -1
    while bits != ZERO:
        bits = bits >> ONE
        index += 1
    return index


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
def severity_level(score: float, policy: np.void) -> int:
    """0 warning, 1 error, 2 critical, by the score of the peak."""
    if score >= float(policy["critical_score"]):
        return 2
    return 1 if score >= float(policy["error_score"]) else 0


@compiled
def take_peak(
    series: np.void, lane: int, time_ms: int, observed: float, score: float, deviation: float, expected: float
) -> None:
    """Make this row the peak of the lane."""
    series["peak_ms"][lane] = time_ms
    series["peak_observed"][lane] = observed
    series["peak_score"][lane] = score
    series["peak_deviation"][lane] = deviation
    series["peak_expected"][lane] = expected


@compiled
def start_episode(series: np.void, lane: int, policy: np.void, time_ms: int, started_ms: int) -> None:
    """Turn a watched lane into an open one."""
    history = series["history"][lane]
    inside = history & policy["open_mask"]
    series["open"][lane] = 1
    series["since_open"][lane] = ZERO
    series["episode"][lane] = int(series["episode"][lane]) + 1
    series["sequence"][lane] = 0
    series["started_ms"][lane] = started_ms
    series["detected_ms"][lane] = time_ms
    series["anomalous_last_ms"][lane] = time_ms
    series["points"][lane] = highest_bit(inside) + 1
    series["anomalous_points"][lane] = popcount(inside)
    series["level"][lane] = severity_level(float(series["peak_score"][lane]), policy)
    changes = popcount((history ^ (history >> ONE)) & policy["flap_mask"])
    series["flapping"][lane] = 1 if changes >= int(policy["flap_crossings"]) else 0


@compiled
def watch(
    series: np.void,
    lane: int,
    policy: np.void,
    time_ms: int,
    anomalous: bool,  # noqa: FBT001 - a kernel's flag
    observed: float,
    score: float,
    deviation: float,
    novelty: float,
    expected: float,
) -> int:
    """Follow a lane that is not open; returns ``OPENED`` or ``NOTHING``.

    The peak is sought among the anomalous rows of the window: one that has slid out of it is replaced by the newest. A
    fresh trigger while cooling down opens nothing and starts the cool-down again; one that lasts opens when it is over.
    An anomalous row that is novel enough is a trigger by itself.
    """
    inside = series["history"][lane] & policy["open_mask"]
    novel = anomalous and novelty >= float(policy["novelty_min"])
    triggered = novel or popcount(inside) >= int(policy["open_points"])
    fresh = triggered and series["triggered"][lane] == 0
    series["triggered"][lane] = 1 if triggered else 0
    if not anomalous:
        return NOTHING
    started_ms = int(series["anomalous_ms"][(int(series["scored"]) - highest_bit(inside)) % OPEN_WINDOW_MAX])
    if int(series["peak_ms"][lane]) < started_ms or deviation > float(series["peak_deviation"][lane]):
        take_peak(series, lane, time_ms, observed, score, deviation, expected)
    if time_ms < int(series["cooldown_until_ms"][lane]):
        if fresh:
            series["cooldown_until_ms"][lane] = time_ms + int(policy["cooldown_ms"])
        return NOTHING
    if not triggered:
        return NOTHING
    start_episode(series, lane, policy, time_ms, started_ms)
    begin_settling(series, policy, time_ms, observed)
    series["peak_novelty"][lane] = novelty
    return OPENED


@compiled
def end_episode(series: np.void, lane: int, policy: np.void, time_ms: int) -> None:
    """Turn an open lane into one that cools down; the rows of one episode never count for the next."""
    series["open"][lane] = 0
    series["triggered"][lane] = 0
    series["history"][lane] = ZERO
    series["cooldown_until_ms"][lane] = time_ms + int(policy["cooldown_ms"])


@compiled
def follow(
    series: np.void,
    lane: int,
    policy: np.void,
    time_ms: int,
    anomalous: bool,  # noqa: FBT001 - a kernel's flag
    observed: float,
    score: float,
    deviation: float,
    novelty: float,
    expected: float,
) -> int:
    """Follow an open episode by one row; returns ``UPDATED``, ``CLOSED`` or ``NOTHING``.

    Changes between normal and anomalous are counted by ``popcount(h ^ h >> 1)``: an exclusive or with the shifted
    history has a bit wherever two neighbouring rows differ.
    """
    history = series["history"][lane]
    since = (series["since_open"][lane] << ONE) | ONE
    series["since_open"][lane] = since
    series["points"][lane] = int(series["points"][lane]) + 1
    if anomalous:
        series["anomalous_points"][lane] = int(series["anomalous_points"][lane]) + 1
        series["anomalous_last_ms"][lane] = time_ms
        if deviation > float(series["peak_deviation"][lane]):
            take_peak(series, lane, time_ms, observed, score, deviation, expected)
        if not novelty <= float(series["peak_novelty"][lane]) and not math.isnan(novelty):
            series["peak_novelty"][lane] = novelty
        settle(series, observed)
    changes = popcount((history ^ (history >> ONE)) & policy["flap_mask"])
    due = time_ms - int(series["emitted_ms"][lane]) >= int(policy["update_interval_ms"])
    if series["flapping"][lane] == 0 and changes >= int(policy["flap_crossings"]):
        series["flapping"][lane] = 1
        due = True
    level = severity_level(float(series["peak_score"][lane]), policy)
    if level > int(series["level"][lane]):
        series["level"][lane] = level
        due = True
    calm = series["flapping"][lane] == 0 or 2 * changes < int(policy["flap_crossings"])
    if calm and not anomalous:
        window = policy["close_mask"] & since
        if popcount(window) - popcount(history & window) >= int(policy["close_points"]):
            end_episode(series, lane, policy, time_ms)
            return CLOSED
    return UPDATED if due else NOTHING


@compiled
def step_lane(
    series: np.void,
    lane: int,
    policy: np.void,
    time_ms: int,
    anomalous: bool,  # noqa: FBT001 - a kernel's flag
    observed: float,
    score: float,
    deviation: float,
    novelty: float,
    expected: float,
) -> int:
    """Shift one scored row into the lane's history and move its episode on."""
    history = series["history"][lane]
    if history == ZERO and not anomalous and series["open"][lane] == 0:
        return NOTHING
    series["history"][lane] = (history << ONE) | (ONE if anomalous else ZERO)
    if series["open"][lane] == 0:
        return watch(series, lane, policy, time_ms, anomalous, observed, score, deviation, novelty, expected)
    return follow(series, lane, policy, time_ms, anomalous, observed, score, deviation, novelty, expected)


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
def judge_rows(
    state: NDArray[np.void],
    policies: NDArray[np.void],
    slots: IntArray,
    times_ms: IntArray,
    values: FloatArray,
    scores: FloatArray,
    deviations: FloatArray,
    novelties: FloatArray,
    expecteds: FloatArray,
    start: int,
    clock: np.void,
    grid_ms: int,
    excusing: bool,  # noqa: FBT001 - a kernel's flag
    outputs: NDArray[np.void],
) -> tuple[int, int]:
    """Judge the rows from ``start`` in order, writing transitions to ``outputs`` and moving ``clock`` on.

    Returns the position of the first row not judged and the number of transitions written. That row has no room in
    ``outputs``, which the caller drains; or it reaches a grid point and timers may be due, which the caller lets fire.
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
        note_deadline(clock, series, policy)
        score = float(scores[position])
        if math.isnan(score):
            continue
        scored = int(series["scored"]) + 1
        series["scored"] = scored
        deviation = float(deviations[position])
        novelty = float(novelties[position])
        expected = float(expecteds[position])
        least = float(policy["deviation_min"])
        if novelty >= float(policy["novelty_min"]):
            least = min(least, NOVEL_DEVIATION_MIN)
        hit = anomalous_lane(observed, score, deviation, expected, least, policy)
        if hit != NO_LANE:
            series["anomalous_ms"][scored % OPEN_WINDOW_MAX] = time_ms
        for lane in range(LANES):
            change = step_lane(
                series, lane, policy, time_ms, lane == hit, observed, score, deviation, novelty, expected
            )
            if lane == hit and series["open"][lane] != 0 and is_new_level(series, lane, policy, time_ms, expected):
                filled += accept_level(series, lane, policy, position, slot, outputs[filled:])
            elif change != NOTHING:
                emit(outputs[filled], series, lane, change, RECOVERED, position, slot, time_ms)
                filled += 1
                note_deadline(clock, series, policy)
    return len(slots), filled
