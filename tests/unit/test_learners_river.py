"""River detectors by import path: what may be asked for, what they are fed, and how their scores are calibrated."""

import itertools
import math
from collections import deque
from typing import Any

import numpy as np
import pytest
from river import anomaly, base, compose, preprocessing

from detector.batches import ScoreColumns
from detector.errors import UsageError
from detector.learners import RiverLearner, RiverSpec
from detector.learners.calibration import EDGE, Calibration, stretch
from detector.learners.river_features import FeatureSet
from detector.learners.river_spec import build_detector
from tests.contracts.learner_cases import MINUTE_MS, START_MS

THURSDAY_MS = 0  # 1970-01-01T00:00Z
HOUR_MS = 3_600_000


class ForeignDetector(base.SupervisedAnomalyDetector):
    """A detector of another package: the distance from zero, but one value breaks it."""

    def learn_one(self, x: dict[Any, Any], y: base.typing.Target) -> None:
        pass

    def score_one(self, x: dict[Any, Any], y: base.typing.Target) -> float:  # noqa: ARG002  # river's signature
        return abs(float(y)) if y != 13.0 else 1.0 / 0.0


def score(learner: RiverLearner, values: list[float], slot: int = 0) -> tuple[ScoreColumns, int]:
    """One series, a sample each minute."""
    learner.reserve(slot + 1)
    size = len(values)
    out = ScoreColumns.empty(size)
    times_ms = START_MS + np.arange(size) * MINUTE_MS
    failures = learner.score(np.full(size, slot), times_ms, np.array(values), out)
    return out, failures


class TestSpecs:
    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            (RiverSpec("river.anomaly.HalfSpaceTree"), "did you mean 'HalfSpaceTrees'"),
            (RiverSpec("river.anomoly.HalfSpaceTrees"), "did you mean 'anomaly'"),
            (RiverSpec(params={"hight": 3}), "has no parameter 'hight'; did you mean 'height'"),
            (RiverSpec("HalfSpaceTrees"), "not a path under river"),
            (RiverSpec("os.path.join"), "not a path under river"),
            (RiverSpec("river.anomaly.hst.random.Random"), "cannot be imported"),
            (RiverSpec("river.anomaly.pad.math"), "has no class 'math'"),
            (RiverSpec("river.base.estimator.Iterator"), "leads out of river"),
            (RiverSpec("river.preprocessing.MinMaxScaler"), "is not an anomaly detector"),
            (RiverSpec("river.anomaly.QuantileFilter"), "does not accept its parameters"),
            (RiverSpec(steps=(("river.anomaly.LODA", {}),)), "cannot be a step"),
            (RiverSpec(params={"limits": {"river": "river.stats.Mean", "parms": {}}}), "not 'parms'"),
            (RiverSpec(features=("value", "houre")), "did you mean 'hour'"),
            (RiverSpec(features=("lag_0",)), "unknown feature 'lag_0'"),
            (RiverSpec(features=("lag_2000",)), "looks back further than 1000 rows"),
            (RiverSpec(features=()), "needs at least one"),
            (RiverSpec(warm_up_samples=1), "at least 20"),
        ],
    )
    def test_a_wrong_spec_is_told_in_one_line(self, spec: RiverSpec, message: str) -> None:
        with pytest.raises(UsageError, match=message) as raised:
            RiverLearner(spec)
        assert "\n" not in str(raised.value)

    def test_nested_models_are_built_at_any_depth(self) -> None:
        inner = {"river": "river.anomaly.OneClassSVM", "params": {"optimizer": {"river": "river.optim.SGD"}}}
        spec = RiverSpec("river.anomaly.QuantileFilter", {"q": 0.9, "anomaly_detector": inner})
        built = build_detector(spec)
        assert isinstance(built.anomaly_detector, anomaly.OneClassSVM)
        assert built.q == 0.9

    def test_a_model_that_draws_random_numbers_gets_a_seed(self) -> None:
        assert build_detector(RiverSpec()).seed == 0
        assert build_detector(RiverSpec(params={"seed": 5})).seed == 5

    def test_other_packages_need_permission(self) -> None:
        path = f"{__name__}.ForeignDetector"
        with pytest.raises(UsageError, match="allow_foreign"):
            build_detector(RiverSpec(path))
        assert isinstance(build_detector(RiverSpec(path, allow_foreign=True)), ForeignDetector)


class TestFeatures:
    def test_lags_and_differences_look_back_over_the_series_own_rows(self) -> None:
        features = FeatureSet(("value", "lag_1", "lag_3", "diff_2"))
        assert features.history == 3
        got = features.of(deque([1.0, 2.0, 4.0]), 0, 9.0)
        assert got == {"value": 9.0, "lag_1": 4.0, "lag_3": 1.0, "diff_2": 7.0}

    def test_there_are_no_features_before_the_longest_lag_is_known(self) -> None:
        assert FeatureSet(("value", "lag_3")).of(deque([1.0, 2.0]), 0, 9.0) is None

    def test_the_calendar_is_read_in_utc(self) -> None:
        names = ("hour", "weekday", "hour_of_week", "hour_sin", "hour_cos")
        got = FeatureSet(names).of(deque(), THURSDAY_MS + 30 * HOUR_MS, 0.0)
        assert got is not None
        assert (got["hour"], got["weekday"], got["hour_of_week"]) == (6.0, 4.0, 102.0)
        assert got["hour_sin"] == pytest.approx(1.0)
        assert got["hour_cos"] == pytest.approx(0.0, abs=1e-12)

    def test_times_before_1970_have_an_hour_too(self) -> None:
        got = FeatureSet(("hour", "weekday")).of(deque(), -1, 0.0)
        assert got == {"hour": 23.0, "weekday": 2.0}


class TestCalibration:
    def test_a_constant_raw_score_has_no_deviation(self) -> None:
        calibration = Calibration()
        for _ in range(100):
            calibration.learn(0.7)
        assert calibration.deviation(0.7) == 0.0
        assert calibration.deviation(0.1) == 0.0
        assert calibration.deviation(0.71) > 1.0

    def test_the_edge_is_where_it_says(self) -> None:
        calibration = Calibration()
        for i in range(5000):
            calibration.learn(5.0 + (-1.0) ** i)
        assert calibration.deviation(5.0 + EDGE) == pytest.approx(1.0, rel=0.02)

    def test_larger_raw_scores_deviate_strictly_more(self) -> None:
        calibration = Calibration()
        for raw in np.random.default_rng(0).random(200):
            calibration.learn(float(raw))
        deviations = [calibration.deviation(2.0**power) for power in range(-1, 900, 5)]
        assert (np.diff(deviations) > 0.0).all()

    def test_a_burst_of_high_scores_does_not_become_usual_at_once(self) -> None:
        calibration = Calibration()
        for raw in np.random.default_rng(0).random(1000):
            calibration.learn(float(raw))
        for _ in range(20):
            calibration.learn(1000.0)
        assert calibration.deviation(1000.0) > 1.0

    def test_probabilities_near_1_are_told_apart(self) -> None:
        stretched = [stretch(p) for p in (-1.0, 0.0, 0.5, 0.9, 1 - 1e-9, 1 - 2**-53, 1.0, 1.5)]
        assert (np.diff(stretched) > 0.0).all()


class TestRiverLearner:
    def test_its_raw_scores_are_those_of_a_river_pipeline(self) -> None:
        spec = RiverSpec(
            "river.anomaly.HalfSpaceTrees",
            {"window_size": 30, "seed": 3},
            features=("value", "lag_1"),
            steps=(("river.preprocessing.StandardScaler", {}), ("river.preprocessing.MinMaxScaler", {})),
            scale="linear",
        )
        steps = (preprocessing.StandardScaler(), preprocessing.MinMaxScaler())
        pipeline = compose.Pipeline(*steps, anomaly.HalfSpaceTrees(window_size=30, seed=3))
        calibration = Calibration()
        values = np.random.default_rng(2).normal(size=300).tolist()
        expected = [math.nan]
        for previous, value in itertools.pairwise(values):
            raw = pipeline.score_one({"value": value, "lag_1": previous})
            pipeline.learn_one({"value": value, "lag_1": previous})
            if raw == 0.0 and calibration.samples == 0:
                expected.append(math.nan)
                continue
            expected.append(calibration.deviation(raw) if calibration.samples >= 25 else math.nan)
            calibration.learn(raw)
        out, failures = score(RiverLearner(spec), values)
        assert failures == 0
        assert np.isfinite(expected[100:]).all()
        np.testing.assert_array_equal(out.deviation, expected)

    def test_answers_of_zero_only_count_as_warming_up_within_a_bound(self) -> None:
        spec = RiverSpec("river.anomaly.StandardAbsoluteDeviation", features=(), quiet_samples_max=100)
        out, _ = score(RiverLearner(spec), [4.0] * 300)
        assert np.flatnonzero(np.isfinite(out.deviation))[0] == 25 + 100 + 25
        assert (out.deviation[150:] == 0.0).all()

    def test_a_model_that_raises_quarantines_its_series_and_no_other(self) -> None:
        spec = RiverSpec(f"{__name__}.ForeignDetector", features=(), allow_foreign=True)
        learner = RiverLearner(spec)
        values = np.random.default_rng(0).normal(size=200).tolist()
        bad = [*values[:100], 13.0, *values[100:]]
        out, failures = score(learner, bad, slot=1)
        assert failures == 1
        assert np.isfinite(out.score[60:100]).all()
        assert np.isnan(out.score[100:]).all()
        assert learner.samples_seen(1) == 201
        again, failures = score(learner, bad, slot=1)
        assert failures == 0
        assert np.isnan(again.score).all()
        healthy, failures = score(learner, values, slot=0)
        assert failures == 0
        assert np.isfinite(healthy.score[60:]).all()
        learner.reset(np.array([1]))
        recovered, failures = score(learner, values, slot=1)
        assert recovered.score.tobytes() == healthy.score.tobytes()

    def test_a_model_that_can_never_score_is_quarantined_after_a_bound(self) -> None:
        holt = {"river": "river.time_series.HoltWinters", "params": {"alpha": 0.3, "beta": 0.1}}
        seasonal = {**holt, "params": {**holt["params"], "gamma": 0.1, "seasonality": 500}}  # type: ignore[dict-item]  # nested settings
        spec = RiverSpec(
            "river.anomaly.PredictiveAnomalyDetection",
            {"predictive_model": seasonal},
            features=(),
            quiet_samples_max=50,
        )
        _, failures = score(RiverLearner(spec), [float(i % 9) for i in range(200)])
        assert failures == 1

    def test_state_is_measured_as_models_grow(self) -> None:
        learner = RiverLearner(RiverSpec())
        empty = learner.state_bytes()
        score(learner, [float(i % 9) for i in range(300)])
        assert empty == 0
        assert learner.state_bytes() > 100_000
        learner.reset(np.array([0]))
        assert learner.state_bytes() == 0
