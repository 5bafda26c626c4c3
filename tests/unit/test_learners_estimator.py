"""The compiled learners as river estimators."""

import doctest
import math
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from river import anomaly, base
from river.checks import common, yield_checks

from detector.batches import ScoreColumns
from detector.learners import (
    EnvelopeDetector,
    EnvelopeLearner,
    Learner,
    ResidualDetector,
    ResidualLearner,
    envelope_estimator,
    residual_estimator,
)
from tests.contracts.learner_cases import MINUTE_MS, START_MS

RNG = np.random.default_rng(5)
ROWS = [({"time": START_MS / 1000 + i * 60.0, "host": "a"}, float(v)) for i, v in enumerate(RNG.normal(size=2000))]

Detector = ResidualDetector | EnvelopeDetector
RIVER_CHECKS = list(yield_checks(ResidualDetector()))
both = pytest.mark.parametrize("make", [EnvelopeDetector, ResidualDetector])
DATA_CHECKS = (
    common.check_learn_one,
    common.check_no_state_aliasing_with_input,
    common.check_clone_is_independent,
    common.check_bounded_memory_growth,
)
"""Of river's checks with data those that take a supervised detector; river itself has no data for such detectors."""


@both
@pytest.mark.parametrize("check", RIVER_CHECKS, ids=lambda check: check.__name__)
def test_river_accepts_the_estimator(check: Callable[..., None], make: Callable[[], Detector]) -> None:
    check(make())


@pytest.mark.parametrize("check", DATA_CHECKS, ids=lambda check: check.__name__)
@both
def test_river_accepts_what_the_estimator_does_with_data(
    check: Callable[..., None], make: Callable[[], Detector]
) -> None:
    check(make(), ROWS)


def test_river_has_checks_for_it() -> None:
    assert len(RIVER_CHECKS) >= 10


def taught(samples: int = 500) -> ResidualDetector:
    """A detector that has learnt the first rows."""
    detector = ResidualDetector()
    for x, y in ROWS[:samples]:
        detector.learn_one(x, y)
    return detector


class TestTheEstimator:
    def test_it_is_a_supervised_anomaly_detector(self) -> None:
        assert isinstance(ResidualDetector(), base.SupervisedAnomalyDetector)

    def test_scoring_changes_nothing(self) -> None:
        detector = taught()
        before = pickle.dumps(detector)
        detector.score_one(ROWS[600][0], 1e6)
        detector.explain_one(ROWS[600][0], -1e6)
        assert pickle.dumps(detector) == before

    @pytest.mark.parametrize(
        ("learner", "detector"), [(ResidualLearner(), ResidualDetector()), (EnvelopeLearner(), EnvelopeDetector())]
    )
    def test_every_row_gets_the_bits_of_the_batch_path(self, learner: Learner, detector: Detector) -> None:
        learner.reserve(1)
        size = len(ROWS)
        out = ScoreColumns.empty(size)
        values = np.array([y for _, y in ROWS])
        learner.score(np.zeros(size, dtype=np.int64), START_MS + np.arange(size) * MINUTE_MS, values, out)
        single = np.empty((6, size))
        for row, (x, y) in enumerate(ROWS):
            single[:, row] = detector.explain_one(x, y)
            detector.learn_one(x, y)
        assert single.tobytes() == np.array(out.columns()).tobytes()

    def test_a_pickled_detector_goes_on_where_it_stopped(self) -> None:
        detector = taught()
        copy = pickle.loads(pickle.dumps(detector))  # noqa: S301  # our own bytes, made in the same line
        for x, y in ROWS[500:600]:
            assert copy.score_one(x, y) == detector.score_one(x, y)
            detector.learn_one(x, y)
            copy.learn_one(x, y)

    def test_a_clone_is_new(self) -> None:
        clone = taught().clone()
        assert clone.samples_seen == 0
        assert math.isnan(clone.score_one({}, 1.0))

    def test_no_score_while_warming_up(self) -> None:
        assert math.isnan(taught(29).score_one({}, 1.0))
        assert taught(30).score_one({}, 100.0) > 50.0

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_is_not_finite_is_neither_scored_nor_learnt(self, value: float) -> None:
        detector = taught()
        assert math.isnan(detector.score_one({}, value))
        detector.learn_one({}, value)
        assert detector.samples_seen == 500

    def test_it_works_inside_a_river_filter(self) -> None:
        guarded: Any = anomaly.ThresholdFilter(taught(), threshold=50.0)
        guarded.learn_one({}, 1e9)
        assert guarded.anomaly_detector.samples_seen == 500
        assert guarded.classify(guarded.score_one({}, 1e9))


class TestTime:
    def learnt(self, times: list[Any]) -> bytes:
        detector = ResidualDetector(interval_s=3600.0)
        for time, value in zip(times, range(100), strict=True):
            detector.learn_one({} if time is None else {"time": time}, float(value % 7))
        return detector._state.tobytes()

    def test_seconds_and_datetimes_of_any_zone_mean_the_same_instant(self) -> None:
        moments = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=i) for i in range(100)]
        seconds = self.learnt([m.timestamp() for m in moments])
        assert self.learnt(list(moments)) == seconds
        assert self.learnt([m.replace(tzinfo=None) for m in moments]) == seconds

    def test_without_a_time_samples_are_counted_by_the_interval(self) -> None:
        assert self.learnt([None] * 100) == self.learnt([3600.0 * i for i in range(100)])


@pytest.mark.parametrize("module", [envelope_estimator, residual_estimator])
def test_the_example_in_the_documentation_is_right(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert failed == 0
    assert tried >= 5
