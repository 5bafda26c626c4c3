"""Time of a series runs forward: late and repeated samples are dropped and counted."""

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


NEVER_MS = np.iinfo(np.int64).min
"""Last time of a slot that has seen nothing."""
