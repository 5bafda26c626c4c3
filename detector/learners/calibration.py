"""From a foreign model's raw score to a deviation with a meaning: 1.0 is the edge of what the series usually scores."""

import math
from typing import Final, Self

from detector.learners.residual import open_ended

EDGE: Final = 12.0
"""Mean absolute deviations between the usual raw score and the edge: 6.6 sigma for a score that is an absolute Gaussian
residual, one sample in 20,000 for an exponential tail such as -log(1 - p) of a uniform p."""
PEAK_SHARE: Final = 1e-3
"""Part of the largest raw excess that counts as noise; keeps the quotient below 83 and so the score off 100."""

_GAIN: Final = 1.0 - 0.5 ** (1.0 / 500.0)
_PEAK_KEPT: Final = 0.5 ** (1.0 / 2000.0)  # without fading, one wild score would blind a series for ever
_RELATIVE_FLOOR: Final = 1e-13  # rounding of the raw score itself
_ABSOLUTE_FLOOR: Final = 1e-305
_RAW_MAX: Final = 1e300


def stretch(probability: float) -> float:
    """-log(1 - p), continued as a straight line below 0 and from 1 on; strictly monotone in p."""
    if probability < 0.0:
        return probability
    if probability >= 1.0:
        return _STRETCH_MAX + (probability - 1.0)
    return -math.log1p(-probability)


_STRETCH_MAX: Final = 37.0  # -log(2^-53) is 36.7, the largest that a float64 below 1 can give


class Calibration:
    """Usual level and spread of one series' raw scores, both EW means with half-life 500, learnt from clipped scores.

    One-sided: only unusually high scores deviate; up to the usual level the deviation is 0, above it strictly monotone.
    """

    __slots__ = ("_level", "_peak", "_spread", "samples")

    def __init__(self) -> None:
        self.samples = 0
        self._level = 0.0
        self._spread = 0.0
        self._peak = 0.0

    def deviation(self, raw: float) -> float:
        """How far ``raw`` lies above the usual level; 1.0 at the edge. Nothing is learnt."""
        raw = min(max(raw, -_RAW_MAX), _RAW_MAX)
        excess = max(raw - self._level, 0.0)
        quotient = excess / self._edge(excess)
        return open_ended(quotient, excess, EDGE * self._noise())

    def learn(self, raw: float) -> None:
        """Follow ``raw``, taken no further out than the edge once a first impression exists."""
        raw = min(max(raw, -_RAW_MAX), _RAW_MAX)
        if self.samples == 0:
            self._level = raw
        excess = abs(raw - self._level)
        clipped = min(excess, self._edge(excess))
        if self.samples < _IMPRESSION_SAMPLES:
            clipped = excess
        self.samples += 1
        gain = max(_GAIN, 1.0 / self.samples)
        self._level += math.copysign(clipped, raw - self._level) * gain
        self._spread += (clipped - self._spread) * gain
        self._peak = max(self._peak, excess) * _PEAK_KEPT

    def kept(self) -> tuple[int, float, float, float]:
        """Everything that was learnt, for :meth:`of`."""
        return self.samples, self._level, self._spread, self._peak

    @classmethod
    def of(cls, kept: tuple[int, float, float, float]) -> Self:
        """Go on from what :meth:`kept` gave."""
        calibration = cls()
        calibration.samples, calibration._level, calibration._spread, calibration._peak = kept
        return calibration

    def _edge(self, excess: float) -> float:
        return EDGE * (self._noise() + PEAK_SHARE * max(self._peak, excess))

    def _noise(self) -> float:
        return self._spread + _RELATIVE_FLOOR * abs(self._level) + _ABSOLUTE_FLOOR


_IMPRESSION_SAMPLES: Final = 10  # before that the spread is too rough to clip by
