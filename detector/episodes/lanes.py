"""The life of a spike or dip, row by row: watch, open, follow, close.

::

              m of n rows anomalous,                 k of n rows normal,
              not cooling down                       not flapping
    watching ─────────────────────────▶ open ─────────────────────────▶ cooling down ──▶ watching
              or one row novel enough   │  ▲   or its level has come     (event time)
                                        └──┘   to stay
                                  updated: interval, severity rises, flapping starts

One lane follows one direction: ``metric.spike`` above what is expected, ``metric.dip`` below.
"""

import math
from typing import Final

import numpy as np

from detector.compiled import compiled
from detector.episodes.records import CLOSED, DOWN, NOTHING, OPEN_WINDOW_MAX, OPENED, UP, UPDATED
from detector.episodes.shapes import begin_settling, settle
from detector.episodes.spread import is_swing

ZERO: Final = np.uint64(0)
ONE: Final = np.uint64(1)
EVEN_BITS: Final = np.uint64(0x5555555555555555)
EVEN_PAIRS: Final = np.uint64(0x3333333333333333)
EVEN_NIBBLES: Final = np.uint64(0x0F0F0F0F0F0F0F0F)
COUNT_BITS: Final = np.uint64(0x7F)
SHIFTS: Final = (np.uint64(2), np.uint64(4), np.uint64(8), np.uint64(16), np.uint64(32))


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
    An anomalous row that is novel enough is a trigger by itself. What swings over both edges opens on one side only.
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
    if not triggered or is_swing(series, policy, UP + DOWN - lane, deviation):
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
    series["history"][lane] = (history << ONE) | (ONE if anomalous else ZERO)
    if series["open"][lane] == 0:
        return watch(series, lane, policy, time_ms, anomalous, observed, score, deviation, novelty, expected)
    return follow(series, lane, policy, time_ms, anomalous, observed, score, deviation, novelty, expected)
