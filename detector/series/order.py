"""Time of a series runs forward: late and repeated samples are dropped and counted, and idle series come to be due."""

import numpy as np

from detector.batches import BoolArray, IntArray
from detector.compiled import compiled


@compiled
def admit(last_ms: IntArray, slots: IntArray, times_ms: IntArray, accepted: BoolArray) -> tuple[int, int]:
    """Accept each row whose time lies after the last accepted one of its slot.

    ``last_ms`` int64[slots] is advanced in place; ``accepted`` bool[m] is written; rows with a negative slot (no
    series) are not accepted and not counted. Returns how many rows came late and how many repeated a time.
    """
    late = 0
    repeated = 0
    for index in range(len(slots)):
        slot = slots[index]
        accepted[index] = False
        if slot < 0:
            continue
        time = times_ms[index]
        if time > last_ms[slot]:
            last_ms[slot] = time
            accepted[index] = True
        elif time == last_ms[slot]:
            repeated += 1
        else:
            late += 1
    return late, repeated


@compiled
def next_expiry(
    times_ms: IntArray, start: int, first: int, watermark_ms: int, oldest_ms: int, grid_ms: int, expiry_ms: int
) -> tuple[int, int]:
    """The first row from ``first`` on that may reach a grid point at which a series has been idle for ``expiry_ms``.

    ``watermark_ms`` and ``oldest_ms``, a lower bound of the last times of all series, hold before the row ``start``.
    May name a row too many, but none too few. Returns ``len(times_ms)`` where there is none, and the bound that holds
    there.
    """
    for index in range(start, len(times_ms)):
        time = times_ms[index]
        if index >= first and time > watermark_ms and time - oldest_ms > expiry_ms:
            point = time - time % grid_ms
            if point > watermark_ms and point - oldest_ms > expiry_ms:
                return index, oldest_ms
        oldest_ms = min(oldest_ms, time)
    return len(times_ms), oldest_ms


@compiled
def next_point(times_ms: IntArray, start: int, watermark_ms: int, grid_ms: int) -> int:
    """The first row from ``start`` on that would make the watermark reach another multiple of ``grid_ms``.

    Returns ``len(times_ms)`` where there is none.
    """
    point_ms = watermark_ms - watermark_ms % grid_ms + grid_ms
    for index in range(start, len(times_ms)):
        if times_ms[index] >= point_ms:
            return index
    return len(times_ms)


NEVER_MS = np.iinfo(np.int64).min
"""Last time of a slot that has seen nothing."""
