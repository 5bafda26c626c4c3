"""Learners: online models of a series, one file each.

A learner scores a sample before it learns it, answers NaN while warming up, and clips its own updates.
A series' scores are a function of that series' own samples: not of a batch's cut, a slot's number or another series.
Adding one is a file that implements :class:`Learner` and a line in :data:`LEARNERS`; the contract tests then cover it.
"""

from collections.abc import Callable
from typing import Final

from detector.learners.auto import AutoLearner, Scorer
from detector.learners.auto_hints import hint_of
from detector.learners.auto_peers import INTERVAL_MS, group_of
from detector.learners.bank import LearnerBank
from detector.learners.counts import CountLearner
from detector.learners.envelope import UTC_OFFSETS, EnvelopeLearner, UtcOffsets
from detector.learners.envelope_estimator import EnvelopeDetector
from detector.learners.learner import Learner
from detector.learners.residual import ResidualLearner
from detector.learners.residual_estimator import CountDetector, Explanation, ResidualDetector
from detector.learners.river_learner import RiverLearner
from detector.learners.river_spec import RiverSpec

LEARNERS: Final[dict[str, Callable[..., Learner]]] = {
    "auto": AutoLearner,
    "counts": CountLearner,
    "envelope": EnvelopeLearner,
    "residual": ResidualLearner,
    "river": RiverLearner,
}
"""By name in settings: "auto" and "envelope" take a time zone, "counts" and "residual" nothing, "river" its
:class:`RiverSpec`."""

__all__ = [
    "INTERVAL_MS",
    "LEARNERS",
    "UTC_OFFSETS",
    "AutoLearner",
    "CountDetector",
    "CountLearner",
    "EnvelopeDetector",
    "EnvelopeLearner",
    "Explanation",
    "Learner",
    "LearnerBank",
    "ResidualDetector",
    "ResidualLearner",
    "RiverLearner",
    "RiverSpec",
    "Scorer",
    "UtcOffsets",
    "group_of",
    "hint_of",
]
