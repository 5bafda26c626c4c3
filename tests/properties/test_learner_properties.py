"""Properties of learners over generated streams, cuts and values."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import ScoreColumns
from detector.learners import LearnerBank, ResidualDetector, ResidualLearner, RiverLearner
from detector.learners.calibration import Calibration, stretch
from tests.contracts.learner_cases import MINUTE_MS, RIVER_SPECS, START_MS, Stream, bits, new_learner, run

SIZE = 300
SCORED = 20

few = settings(max_examples=25, deadline=None, derandomize=True)
cuts = st.lists(st.integers(1, SIZE - 1), max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)


@few
@given(cuts, st.integers(0, 1000))
def test_any_cut_of_any_stream_gives_the_same_bits(where: list[int], seed: int) -> None:
    stream = Stream(SIZE, seed=seed)
    assert bits(run(new_learner("residual"), stream, where)) == bits(run(new_learner("residual"), stream))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(cuts, st.sampled_from(sorted(RIVER_SPECS)))
def test_any_cut_gives_the_same_bits_for_river_models(where: list[int], name: str) -> None:
    stream = Stream(SIZE)
    assert bits(run(new_learner(f"river-{name}"), stream, where)) == bits(run(new_learner(f"river-{name}"), stream))


@few
@given(cuts, st.permutations(range(3)))
def test_a_bank_of_two_learners_gives_each_series_what_its_learner_alone_would(
    where: list[int], order: list[int]
) -> None:
    stream = Stream(SIZE)
    bank = LearnerBank([ResidualLearner(), RiverLearner(RIVER_SPECS["gaussian"])])
    for slot in order:
        bank.open(slot, slot % 2)
    out = run(bank, stream, where)
    for slot, case in enumerate(("residual", "river-gaussian", "residual")):
        alone = run(new_learner(case), stream.only(slot))
        assert bits(alone) == bits(out, stream.slots == slot)


@few
@given(st.lists(finite, min_size=31, max_size=120))
def test_any_finite_values_give_finite_ordered_answers_after_the_warm_up(values: list[float]) -> None:
    learner = ResidualLearner()
    learner.reserve(1)
    size = len(values)
    out = ScoreColumns.empty(size)
    times_ms = START_MS + np.arange(size) * MINUTE_MS
    learner.score(np.zeros(size, dtype=np.int64), times_ms, np.array(values), out)
    warm = slice(learner.warm_up_samples, None)
    for column in (out.score, out.deviation, out.expected, out.lower, out.upper):
        assert np.isfinite(column[warm]).all()
    assert (out.lower[warm] <= out.expected[warm]).all()
    assert (out.expected[warm] <= out.upper[warm]).all()
    assert (out.score[warm] < 100.0).all()


@few
@given(st.lists(st.floats(-1e6, 1e6), min_size=40, max_size=80), st.floats(1e-3, 1e6), st.floats(1.001, 100.0))
def test_further_from_the_expectation_is_a_higher_score(values: list[float], distance: float, factor: float) -> None:
    detector = ResidualDetector()
    for value in values:
        detector.learn_one({}, value)
    centre = detector.explain_one({}, 0.0).expected
    for sign in (-1.0, 1.0):
        near = detector.score_one({}, centre + sign * distance)
        far = detector.score_one({}, centre + sign * distance * factor)
        assert near < far


@few
@given(st.lists(st.floats(-1e9, 1e9), min_size=31, max_size=60), finite)
def test_the_estimator_gives_the_bits_of_the_batch_path(values: list[float], last: float) -> None:
    detector = ResidualDetector(interval_s=60.0)
    learner = ResidualLearner()
    learner.reserve(1)
    for value in values:
        detector.learn_one(None, value)
    rows = np.array([*values, last])
    out = ScoreColumns.empty(len(rows))
    learner.score(np.zeros(len(rows), dtype=np.int64), np.arange(len(rows)) * MINUTE_MS, rows, out)
    batch = tuple(float(column[-1]) for column in out.columns())
    single = tuple(detector.explain_one(None, last))
    assert np.array(batch).tobytes() == np.array(single).tobytes()


@few
@given(st.lists(st.floats(-1e3, 1e3), min_size=SCORED, max_size=60), finite, finite)
def test_a_calibrated_deviation_is_monotone_and_one_sided(raws: list[float], one: float, other: float) -> None:
    calibration = Calibration()
    for raw in raws:
        calibration.learn(raw)
    low, high = sorted((one, other))
    assert 0.0 <= calibration.deviation(low) <= calibration.deviation(high) < 1000.0


@few
@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=50, unique=True))
def test_stretching_keeps_the_order(probabilities: list[float]) -> None:
    ordered = sorted(probabilities)
    stretched = [stretch(p) for p in ordered]
    assert all(math.isfinite(s) for s in stretched)
    assert stretched == sorted(stretched)
