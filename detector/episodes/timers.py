"""What happens to series that say nothing, at the grid points that the watermark reaches.

Two passes: the first only reads and finds the few series with something due; the second changes them. Either is a
function of the records and of the row that reached the grid point, so no cut of the rows into calls shows in it.
"""

import numpy as np
from numpy.typing import NDArray

from detector.batches import IntArray
from detector.compiled import compiled
from detector.episodes.lanes import end_episode
from detector.episodes.outputs import emit, emit_no_data, emit_stuck, emit_variance
from detector.episodes.records import ALWAYS_MS, CHANGES_MAX, CLOSED, LANES, OPENED, SILENT
from detector.episodes.silence import close_deadline_ms, deadline_ms, is_watched, no_data_deadline_ms


@compiled
def is_excused(series: np.void, policy: np.void, skipped_ms: int) -> bool:
    """Whether the whole partition was silent for longer than this series usually is, which says nothing about it."""
    return is_watched(series, policy) and float(skipped_ms) > float(series["gap_ms"])


@compiled
def due_slots(
    state: NDArray[np.void], policies: NDArray[np.void], point_ms: int, skipped_ms: int, found: IntArray
) -> tuple[int, int]:
    """Find the series that :func:`fire` has to look at when the watermark reaches ``point_ms``; nothing is changed.

    ``skipped_ms`` is how far the watermark went at once, 0 unless that is past more than one grid point. ``found``
    int64[len(state)] takes their slots, ascending. Returns how many there are, and the earliest deadline of the others.
    """
    count = 0
    earliest_ms = ALWAYS_MS
    for slot in range(len(state)):
        series = state[slot]
        if series["seen"] == 0:
            continue
        policy = policies[series["policy"]]
        deadline = deadline_ms(series, policy)
        if point_ms > deadline or is_excused(series, policy, skipped_ms):
            found[count] = slot
            count += 1
        else:
            earliest_ms = min(earliest_ms, deadline)
    return count, earliest_ms


@compiled
def fire(
    state: NDArray[np.void],
    policies: NDArray[np.void],
    found: IntArray,
    start: int,
    point_ms: int,
    skipped_ms: int,
    outputs: NDArray[np.void],
) -> tuple[int, int, int]:
    """Let the timers of the series ``found[start:]`` fire at ``point_ms``, writing transitions to ``outputs``.

    An episode ends with the last sample of its series, and cools down from then. Returns the index in ``found`` to go
    on from when ``outputs`` is drained, how many transitions were written, and the earliest deadline that the series
    before it have now.
    """
    filled = 0
    earliest_ms = ALWAYS_MS
    for index in range(start, len(found)):
        if filled + CHANGES_MAX > len(outputs):
            return index, filled, earliest_ms
        slot = found[index]
        series = state[slot]
        policy = policies[series["policy"]]
        if point_ms > close_deadline_ms(series, policy):
            last_ms = int(series["last_ms"])
            for lane in range(LANES):
                if series["open"][lane] != 0:
                    end_episode(series, lane, policy, last_ms)
                    emit(outputs[filled], series, lane, CLOSED, SILENT, 0, slot, point_ms)
                    outputs[filled]["ended_ms"] = last_ms
                    filled += 1
            if series["stuck"] != 0:
                emit_stuck(outputs[filled], series, int(policy["stuck_level"]), CLOSED, SILENT, 0, slot, point_ms)
                filled += 1
            if series["variance"] != 0:
                emit_variance(outputs[filled], series, int(policy["spread_level"]), CLOSED, SILENT, 0, slot, point_ms)
                filled += 1
        if is_excused(series, policy, skipped_ms):
            series["excused_ms"] = point_ms
        elif point_ms > no_data_deadline_ms(series, policy):
            level = int(policy["no_data_level"])
            emit_no_data(outputs[filled], series, level, OPENED, 0, 0, slot, point_ms)
            filled += 1
        earliest_ms = min(earliest_ms, deadline_ms(series, policy))
    return len(found), filled, earliest_ms
