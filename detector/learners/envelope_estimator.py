"""The envelope learner as a river estimator: the same function, the same bits, one series at a time."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from river import base

from detector.learners.envelope import UTC_OFFSETS, UtcOffsets, step
from detector.learners.envelope_state import STATE
from detector.learners.residual_estimator import Explanation, epoch_ms


class EnvelopeDetector(base.SupervisedAnomalyDetector):
    """Severity against four levels with daily and weekly profiles, novelty against running bounds.

    Like river's other univariate detectors it is supervised: ``y`` is the value that is judged. ``x["time"]`` (a
    datetime or epoch seconds), where present, tells the hour and how much time has passed; every other feature is
    ignored. Values that are not finite are not learnt and have the score NaN.

    Parameters
    ----------
    interval_s
        Seconds between samples, for counting time where ``x`` has none.
    timezone
        Offsets of the zone whose hours the profiles follow; UTC where it is None.

    Examples
    --------
    >>> from detector.learners import EnvelopeDetector
    >>> detector = EnvelopeDetector(interval_s=60)
    >>> for i in range(500):
    ...     detector.learn_one({}, 20.0 + i % 5)
    >>> round(detector.score_one({}, 23.0), 1)
    12.3
    >>> round(detector.score_one({}, 80.0), 1)
    88.9
    >>> explanation = detector.explain_one({}, 80.0)
    >>> round(explanation.lower, 1), round(explanation.expected, 1), round(explanation.upper, 1)
    (15.4, 22.3, 29.3)

    """

    def __init__(self, interval_s: float = 60.0, timezone: UtcOffsets | None = None) -> None:
        self.interval_s = interval_s
        self.timezone = timezone
        self._state = np.zeros(1, dtype=STATE)

    def learn_one(self, x: Mapping[Any, Any] | None, y: base.typing.Target) -> None:
        """Learn the value ``y``."""
        value = float(y)
        if math.isfinite(value):
            self._step(self._state[0], x, value)

    def score_one(self, x: Mapping[Any, Any] | None, y: base.typing.Target) -> float:
        """Score the value ``y`` from 0 to 100, with 50 at the edge of the band; NaN while warming up."""
        return self.explain_one(x, y).score

    def explain_one(self, x: Mapping[Any, Any] | None, y: base.typing.Target) -> Explanation:
        """Score the value ``y`` and tell the band it was compared with; nothing is learnt."""
        value = float(y)
        if not math.isfinite(value):
            return Explanation(*(math.nan,) * 6)
        return self._step(self._state.copy()[0], x, value)

    @property
    def samples_seen(self) -> int:
        """How many values were learnt."""
        return int(self._state["samples"][0])

    def _step(self, record: np.void, x: Mapping[Any, Any] | None, value: float) -> Explanation:
        time = None if x is None else x.get("time")
        time_ms = epoch_ms(self.samples_seen * self.interval_s if time is None else time)
        zone = UTC_OFFSETS if self.timezone is None else self.timezone
        return Explanation(*step(record, time_ms, value, zone.at(time_ms)))
