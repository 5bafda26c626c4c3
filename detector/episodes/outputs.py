"""Transitions as rows of numbers: what the kernels write down for the judge to make objects of."""

import math

import numpy as np

from detector.compiled import compiled
from detector.episodes.records import (
    ACCEPTED,
    CLOSED,
    LEVEL_SHIFT,
    NO_DATA,
    OPENED,
    RECENT_VALUES,
    RESUMED,
    SILENT,
    STUCK,
    VARIANCE,
)


@compiled
def place(output: np.void, series: np.void, state: int, reason: int, position: int, slot: int, time_ms: int) -> None:
    """Write down what happened where, and what is known of the series."""
    output["state"] = state
    output["reason"] = reason
    output["position"] = position
    output["slot"] = slot
    output["time_ms"] = time_ms
    output["last_ms"] = series["last_ms"]
    output["interval_ms"] = series["interval_ms"]
    output["gap_ms"] = series["gap_ms"]
    output["usual_run_ms"] = series["usual_run_ms"]
    output["old_level"] = math.nan
    output["new_level"] = math.nan
    output["spread"] = math.nan
    output["lean"] = math.nan
    output["usual_spread"] = math.nan
    output["peak_spread"] = math.nan
    seen = int(series["seen"])
    output["seen"] = seen
    count = min(seen, RECENT_VALUES)
    for index in range(count):
        output["recent"][index] = series["values"][(seen - count + index) % RECENT_VALUES]


@compiled
def emit(
    output: np.void, series: np.void, lane: int, state: int, reason: int, position: int, slot: int, time_ms: int
) -> None:
    """Count one transition of the lane and write its numbers down."""
    place(output, series, state, reason, position, slot, time_ms)
    sequence = int(series["sequence"][lane]) + 1
    series["sequence"][lane] = sequence
    series["emitted_ms"][lane] = time_ms
    output["lane"] = lane
    output["sequence"] = sequence
    output["episode"] = series["episode"][lane]
    output["level"] = series["level"][lane]
    output["flapping"] = series["flapping"][lane]
    output["started_ms"] = series["started_ms"][lane]
    output["detected_ms"] = series["detected_ms"][lane]
    output["ended_ms"] = series["anomalous_last_ms"][lane]
    output["points"] = series["points"][lane]
    output["anomalous_points"] = series["anomalous_points"][lane]
    output["peak_score"] = series["peak_score"][lane]
    output["peak_deviation"] = series["peak_deviation"][lane]
    output["peak_observed"] = series["peak_observed"][lane]
    output["peak_expected"] = series["peak_expected"][lane]
    output["peak_ms"] = series["peak_ms"][lane]
    output["peak_novelty"] = series["peak_novelty"][lane]


@compiled
def emit_no_data(
    output: np.void, series: np.void, level: int, state: int, reason: int, position: int, slot: int, time_ms: int
) -> None:
    """Open or close the series' ``metric.no_data`` episode at ``time_ms`` and write its numbers down.

    It starts with the last sample before the silence and ends with the first one after, before which it must be closed.
    Where no sample ends it, ``time_ms`` is another series' and may lie before the opening, which is then the end, too.
    """
    if state == OPENED:
        series["no_data"] = 1
        series["no_data_ms"] = time_ms
        series["no_data_episode"] = int(series["no_data_episode"]) + 1
    else:
        series["no_data"] = 0
    place(output, series, state, reason, position, slot, time_ms)
    output["lane"] = NO_DATA
    output["episode"] = series["no_data_episode"]
    output["started_ms"] = series["last_ms"]
    output["detected_ms"] = series["no_data_ms"]
    output["ended_ms"] = time_ms if reason == RESUMED else max(time_ms, int(series["no_data_ms"]))
    output["points"] = 0
    output["anomalous_points"] = 0
    without_peak(output, series, level, state)


@compiled
def without_peak(output: np.void, series: np.void, level: int, state: int) -> None:
    """Complete a row of an episode that follows no scores and has no updates."""
    output["sequence"] = 2 if state == CLOSED else 1
    output["level"] = level
    output["flapping"] = 0
    output["peak_score"] = math.nan
    output["peak_deviation"] = math.nan
    output["peak_observed"] = math.nan
    output["peak_expected"] = math.nan
    output["peak_novelty"] = math.nan
    output["peak_ms"] = series["last_ms"]


@compiled
def emit_stuck(
    output: np.void, series: np.void, level: int, state: int, reason: int, position: int, slot: int, time_ms: int
) -> None:
    """Open or close the series' ``metric.stuck`` episode at ``time_ms`` and write its numbers down.

    It starts with the first of the equal samples and ends with the first other one, which must not be noted yet; where
    none came, with the last sample there is.
    """
    if state == OPENED:
        series["stuck"] = 1
        series["stuck_ms"] = time_ms
        series["stuck_episode"] = int(series["stuck_episode"]) + 1
    else:
        series["stuck"] = 0
    place(output, series, state, reason, position, slot, time_ms)
    output["lane"] = STUCK
    output["episode"] = series["stuck_episode"]
    output["started_ms"] = series["same_ms"]
    output["detected_ms"] = series["stuck_ms"]
    output["ended_ms"] = series["last_ms"] if reason == SILENT else max(time_ms, int(series["stuck_ms"]))
    output["points"] = series["same_points"]
    output["anomalous_points"] = series["same_points"]
    without_peak(output, series, level, state)


@compiled
def emit_variance(
    output: np.void, series: np.void, level: int, state: int, reason: int, position: int, slot: int, time_ms: int
) -> None:
    """Open or close the series' ``metric.variance`` episode at ``time_ms`` and write its numbers down.

    It starts with the first row at which the spread was wide and ends with the last one at which it was not calm; the
    calm rows after that are no anomalous points.
    """
    calm = 0
    if state == OPENED:
        series["variance"] = 1
        series["variance_ms"] = time_ms
        series["variance_episode"] = int(series["variance_episode"]) + 1
    else:
        series["variance"] = 0
        calm = int(series["wide_rows"])
        series["wide_rows"] = 0
    place(output, series, state, reason, position, slot, time_ms)
    output["lane"] = VARIANCE
    output["episode"] = series["variance_episode"]
    output["started_ms"] = series["variance_started_ms"]
    output["detected_ms"] = series["variance_ms"]
    output["ended_ms"] = series["variance_last_ms"]
    output["points"] = series["variance_points"]
    output["anomalous_points"] = int(series["variance_points"]) - calm
    without_peak(output, series, level, state)
    output["spread"] = series["spread"]
    output["lean"] = series["lean"]
    output["usual_spread"] = series["variance_usual"]
    output["peak_spread"] = series["variance_peak"]


@compiled
def emit_shift(output: np.void, series: np.void, lane: int, state: int, position: int, slot: int, time_ms: int) -> None:
    """Write down that the open episode of a lane is a new level: an opening and, with the same row, its end."""
    if state == OPENED:
        series["shift_episode"] = int(series["shift_episode"]) + 1
    sequence = int(series["sequence"][lane])
    emitted_ms = int(series["emitted_ms"][lane])
    emit(output, series, lane, state, ACCEPTED, position, slot, time_ms)
    series["sequence"][lane] = sequence
    series["emitted_ms"][lane] = emitted_ms
    output["lane"] = LEVEL_SHIFT
    output["sequence"] = 2 if state == CLOSED else 1
    output["episode"] = series["shift_episode"]
    output["detected_ms"] = time_ms
    output["ended_ms"] = time_ms
    output["flapping"] = 0
    output["new_level"] = series["shift_level"]


@compiled
def emit_moved(
    output: np.void, series: np.void, drift: np.void, state: int, position: int, slot: int, time_ms: int
) -> None:
    """Write down that a drift without an open episode is a new level: an opening and, with the same row, its end."""
    if state == OPENED:
        series["shift_episode"] = int(series["shift_episode"]) + 1
    place(output, series, state, ACCEPTED, position, slot, time_ms)
    output["lane"] = LEVEL_SHIFT
    output["episode"] = series["shift_episode"]
    output["started_ms"] = drift["found_ms"]
    output["detected_ms"] = time_ms
    output["ended_ms"] = time_ms
    output["points"] = drift["points"]
    output["anomalous_points"] = 0
    without_peak(output, series, 0, state)
    output["old_level"] = drift["before"]
    output["new_level"] = drift["level"]
