"""The compiled learners as river estimators: the same functions, the same bits, one series at a time."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

import numpy as np
from river import base

from detector.learners import counts, residual


class Explanation(NamedTuple):
    """What a sample is compared with: ``deviation`` is 1.0 exactly where the value meets ``lower`` or ``upper``."""

    score: float
    deviation: float
    novelty: float
    expected: float
    lower: float
    upper: float


def epoch_ms(time: datetime | float) -> int:
    """Epoch milliseconds of a datetime (UTC where it names no zone) or of epoch seconds."""
    if isinstance(time, datetime):
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return math.floor(float(time) * 1000.0)


class _CompiledDetector(base.SupervisedAnomalyDetector):
    """One record and the function that steps it."""

    _record: ClassVar[np.dtype[Any]]

    def __init__(self, interval_s: float = 60.0) -> None:
        self.interval_s = interval_s
        self._state = np.zeros(1, dtype=self._record)

    def learn_one(self, x: Mapping[Any, Any] | None, y: base.typing.Target) -> None:
        """Learn the value ``y``, clipped to the band."""
        value = float(y)
        if math.isfinite(value):
            self._stepped(self._state[0], self._time_ms(x), value)

    def score_one(self, x: Mapping[Any, Any] | None, y: base.typing.Target) -> float:
        """Score the value ``y`` from 0 to 100, with 50 at the edge of the band; NaN while warming up."""
        return self.explain_one(x, y).score

    def explain_one(self, x: Mapping[Any, Any] | None, y: base.typing.Target) -> Explanation:
        """Score the value ``y`` and tell the band it was compared with; nothing is learnt."""
        value = float(y)
        if not math.isfinite(value):
            return Explanation(*(math.nan,) * 6)
        return Explanation(*self._stepped(self._state.copy()[0], self._time_ms(x), value))

    @property
    def samples_seen(self) -> int:
        """How many values were learnt."""
        return int(self._state["samples"][0])

    def _stepped(self, record: np.void, time_ms: int, value: float) -> residual.Step:
        raise NotImplementedError

    def _time_ms(self, x: Mapping[Any, Any] | None) -> int:
        time = None if x is None else x.get("time")
        return epoch_ms(self.samples_seen * self.interval_s if time is None else time)


class ResidualDetector(_CompiledDetector):
    """Robust residual against a fast level, a slow level and a daily profile.

    Like river's other univariate detectors it is supervised: ``y`` is the value that is judged. ``x["time"]`` (a
    datetime or epoch seconds), where present, tells the hour of day; every other feature is ignored. Values that are
    not finite are not learnt and have the score NaN.

    Parameters
    ----------
    interval_s
        Seconds between samples, for counting time where ``x`` has none.

    Examples
    --------
    >>> from detector.learners import ResidualDetector
    >>> detector = ResidualDetector(interval_s=60)
    >>> for i in range(500):
    ...     detector.learn_one({}, 20.0 + i % 5)
    >>> round(detector.score_one({}, 23.0), 1)
    9.9
    >>> round(detector.score_one({}, 80.0), 1)
    86.5
    >>> explanation = detector.explain_one({}, 80.0)
    >>> round(explanation.lower, 1), round(explanation.expected, 1), round(explanation.upper, 1)
    (13.3, 22.0, 30.8)

    """

    _record = residual.STATE

    def __init__(self, interval_s: float = 60.0) -> None:
        super().__init__(interval_s)

    def _stepped(self, record: np.void, time_ms: int, value: float) -> residual.Step:
        return residual.step(record, time_ms, value)


class CountDetector(_CompiledDetector):
    """Tails of a negative binomial distribution with a mean for each hour of the day, for low counts.

    Used like :class:`ResidualDetector`.

    Parameters
    ----------
    interval_s
        Seconds between samples, for counting time where ``x`` has none.

    Examples
    --------
    >>> from detector.learners import CountDetector
    >>> detector = CountDetector(interval_s=60)
    >>> for i in range(500):
    ...     detector.learn_one({}, i % 3)
    >>> detector.score_one({}, 2) < 50.0 < detector.score_one({}, 12)
    True

    """

    _record = counts.STATE

    def __init__(self, interval_s: float = 60.0) -> None:
        super().__init__(interval_s)

    def _stepped(self, record: np.void, time_ms: int, value: float) -> residual.Step:
        return counts.step(record, time_ms, value)
