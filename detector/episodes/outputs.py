"""Transitions as rows of numbers: what the kernels write down for the judge to make objects of."""

import math

import numpy as np

from detector.compiled import compiled
from detector.episodes.records import CLOSED, NO_DATA, OPENED, RECENT_VALUES, RESUMED


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
    output["sequence"] = 2 if state == CLOSED else 1
    output["episode"] = series["no_data_episode"]
    output["level"] = level
    output["flapping"] = 0
    output["started_ms"] = series["last_ms"]
    output["detected_ms"] = series["no_data_ms"]
    output["ended_ms"] = time_ms if reason == RESUMED else max(time_ms, int(series["no_data_ms"]))
    output["points"] = 0
    output["anomalous_points"] = 0
    output["peak_score"] = math.nan
    output["peak_deviation"] = math.nan
    output["peak_observed"] = math.nan
    output["peak_expected"] = math.nan
    output["peak_ms"] = series["last_ms"]
