"""Windows running: what says little in each may say a lot together."""

import math
from collections.abc import Sequence
from typing import Final

from detector.episodes.log_kinds import FORMAT_PLACE, REWORDED_KINDS, Weights
from detector.episodes.log_policies import LogPolicy
from detector.episodes.log_state import LogService
from detector.log_batches import LOG_KINDS

RUN_DIGITS_MIN: Final = 1.0
"""Of a window that goes on with a run: calm ones have more one time in ten."""
RUN_WINDOWS_MAX: Final = 5
ERROR_RUN_WINDOWS_MAX: Final = 10
ERROR_KINDS: Final = ("log.new_template", "log.severity_surge")
"""Windows of a run that are looked at together, or as many as the policy asks for. What is new among errors says little
in each window of a young service, and goes on; shares that differ a little for as long are those of another hour."""
ROUNDING: Final = 1e-9

EXPLAINED: Final = tuple(LOG_KINDS.index(kind) for kind in LOG_KINDS if kind in {*REWORDED_KINDS, "log.format_change"})
"""Places of the runs that new wording goes on with."""
ERROR_PLACES: Final = tuple(LOG_KINDS.index(kind) for kind in LOG_KINDS if kind in ERROR_KINDS)


def go_on(service: LogService, own: Weights, combined: float, start_ms: int, length_ms: int, policy: LogPolicy) -> None:
    """Go on with the runs; a quiet window or a gap ends one. New wording goes on with those that it explains."""
    runs, lengths = service.runs, service.lengths
    if service.window_ms + length_ms != start_ms:
        runs[:] = [[] for _ in runs]
        lengths[:] = [0] * len(runs)
    if service.reworded_ms == start_ms:
        loudest = max(EXPLAINED, key=lambda place: sum(runs[place]))
        runs[FORMAT_PLACE], lengths[FORMAT_PLACE] = runs[loudest].copy(), lengths[loudest]
    single = max(own)
    joint = max(combined, single) if single >= policy.sustained_min else combined
    for place, (run, evidence) in enumerate(zip(runs, (*own, joint), strict=True)):
        if evidence >= RUN_DIGITS_MIN:
            run.append(min(evidence, policy.single_min))
            most = ERROR_RUN_WINDOWS_MAX if place in ERROR_PLACES else RUN_WINDOWS_MAX
            del run[: -max(most, policy.sustained_windows)]
            lengths[place] += 1
        else:
            run.clear()
            lengths[place] = 0


def is_sustained(run: Sequence[float], policy: LogPolicy) -> bool:
    """Whether at least ``sustained_windows`` running are together as rare as so many at ``sustained_min``."""
    least = policy.sustained_windows
    bar = together([policy.sustained_min] * least) - ROUNDING
    return any(together(run[start:]) >= bar for start in range(len(run) - least + 1))


def together(digits: Sequence[float]) -> float:
    """-log10 p that independent windows are together as rare as these.

    Source: Fisher (1932), "Statistical methods for research workers", section 21.1: -2 ln of the product of k
    probabilities is chi-squared with 2 k degrees of freedom.
    """
    total = sum(digits)
    x, term, series = math.log(10.0) * total, 1.0, 1.0
    for k in range(1, len(digits)):
        term *= x / k
        series += term
    return total - math.log10(series)
