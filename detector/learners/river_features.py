"""The features of a sample that a river model is fed: from its own series' past and its own time, nothing else."""

import math
import re
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Final

from detector.errors import UsageError
from detector.learners.river_spec import suggestion

Features = dict[Hashable, float]
"""What river calls x."""

LAG_MAX: Final = 1000
"""The furthest row that lag_k and diff_k may look back: 8 KB per series."""

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday; Monday is 0


def _hour(time_ms: int) -> float:
    return float(time_ms // _HOUR_MS % 24)


def _day_angle(time_ms: int) -> float:
    return 2.0 * math.pi * (time_ms % _DAY_MS) / _DAY_MS


def _weekday(time_ms: int) -> float:
    return float((time_ms // _DAY_MS + _EPOCH_WEEKDAY) % 7)


CALENDAR: Final[dict[str, Callable[[int], float]]] = {
    "hour": _hour,
    "hour_sin": lambda time_ms: math.sin(_day_angle(time_ms)),
    "hour_cos": lambda time_ms: math.cos(_day_angle(time_ms)),
    "weekday": _weekday,
    "hour_of_week": lambda time_ms: _weekday(time_ms) * 24.0 + _hour(time_ms),
}
"""Features of event time in UTC; hour_sin and hour_cos turn once a day, continuously."""

_LAGGED: Final = re.compile(r"(lag|diff)_([1-9][0-9]*)")


class FeatureSet:
    """What a list of feature names asks for, read once.

    ``value`` is the sample, ``lag_k`` the value k rows of the series ago, ``diff_k`` their difference, and
    :data:`CALENDAR` holds the rest. Raises ``UsageError`` for any other name.
    """

    __slots__ = ("_calendar", "_diffs", "_lags", "_value", "history")

    def __init__(self, names: Sequence[str]) -> None:
        self._value = "value" in names
        self._lags: list[tuple[str, int]] = []
        self._diffs: list[tuple[str, int]] = []
        self._calendar: list[tuple[str, Callable[[int], float]]] = []
        for name in names:
            self._add(name)
        self.history = max((lag for _, lag in self._lags + self._diffs), default=0)

    def of(self, past: deque[float], time_ms: int, value: float) -> Features | None:
        """The features of one sample, or None while ``past`` (earlier values, the newest last) is too short."""
        if len(past) < self.history:
            return None
        features: Features = {"value": value} if self._value else {}
        for name, lag in self._lags:
            features[name] = past[-lag]
        for name, lag in self._diffs:
            features[name] = value - past[-lag]
        for name, read in self._calendar:
            features[name] = read(time_ms)
        return features

    def _add(self, name: str) -> None:
        lagged = _LAGGED.fullmatch(name)
        if lagged:
            rows = int(lagged[2])
            if rows > LAG_MAX:
                raise UsageError(f"the feature {name!r} looks back further than {LAG_MAX} rows")
            (self._lags if lagged[1] == "lag" else self._diffs).append((name, rows))
        elif name in CALENDAR:
            self._calendar.append((name, CALENDAR[name]))
        elif name != "value":
            known = ("value", "lag_1", "diff_1", *CALENDAR)
            raise UsageError(
                f"unknown feature {name!r}{suggestion(name, known)}"
                " (known: value, lag_<rows>, diff_<rows>, " + ", ".join(CALENDAR) + ")",
            )
