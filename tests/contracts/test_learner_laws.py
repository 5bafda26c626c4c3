"""The laws that every learner obeys, whatever is inside."""

import numpy as np
import pytest

from detector.batches import ScoreColumns
from detector.learners import LEARNERS
from tests.contracts.learner_cases import CASES, OUTLIER_CASES, Stream, bits, new_learner, run

STREAM = Stream(600)

every_learner = pytest.mark.parametrize("case", CASES)


def test_every_registered_learner_is_tried() -> None:
    assert {name for name, _ in CASES.values()} == set(LEARNERS)


@every_learner
class TestTheLawOfTheLearner:
    def test_any_cut_into_batches_gives_the_same_bits(self, case: str) -> None:
        whole = run(new_learner(case), STREAM)
        for cuts in ((1, 2, 3, 200), (150, 150, 599), tuple(range(0, 600, 7))):
            assert bits(run(new_learner(case), STREAM, cuts)) == bits(whole)

    def test_other_series_do_not_matter(self, case: str) -> None:
        together = run(new_learner(case), STREAM)
        for slot in range(3):
            alone = run(new_learner(case), STREAM.only(slot))
            assert bits(alone) == bits(together, STREAM.slots == slot)

    def test_the_number_of_the_slot_does_not_matter(self, case: str) -> None:
        moved = Stream(600, slots=(5, 0, 7))
        assert bits(run(new_learner(case), moved)) == bits(run(new_learner(case), STREAM))

    def test_a_reset_slot_is_a_new_series_and_its_neighbours_are_not(self, case: str) -> None:
        learner = new_learner(case)
        run(learner, STREAM)
        learner.reset(np.array([1]))
        assert learner.samples_seen(1) == 0
        again = run(learner, STREAM)
        first = run(new_learner(case), STREAM)
        assert bits(again, STREAM.slots == 1) == bits(first, STREAM.slots == 1)
        assert bits(again, STREAM.slots == 0) != bits(first, STREAM.slots == 0)

    def test_reserving_more_room_keeps_what_was_learnt(self, case: str) -> None:
        learner = new_learner(case)
        grown = run(learner, STREAM, (100, 300), between=lambda row: learner.reserve(8 + row))
        assert bits(grown) == bits(run(new_learner(case), STREAM))

    def test_reserving_less_room_changes_nothing(self, case: str) -> None:
        learner = new_learner(case)
        shrunk = run(learner, STREAM, (100,), between=lambda _row: learner.reserve(1))
        assert bits(shrunk) == bits(run(new_learner(case), STREAM))


@every_learner
class TestANewLevel:
    @pytest.mark.parametrize("factor", [0.01, 0.5, 1.0, 3.0, 1e3])
    def test_is_not_outside_of_the_band_any_more(self, case: str, factor: float) -> None:
        learner = new_learner(case)
        run(learner, STREAM)
        now = np.full(3, STREAM.times_ms[-1] + 60_000)
        levels = factor * np.array([100.0, 1e-3, 1e9])
        learner.rebaseline(np.arange(3), now, levels)
        out = ScoreColumns.empty(3)
        learner.score(np.arange(3), now, levels, out)
        assert not (out.deviation > 1.0).any()
        known = np.isfinite(out.expected)
        assert np.allclose(out.expected[known], levels[known], rtol=0.01, atol=0.05)

    def test_does_not_matter_to_other_series(self, case: str) -> None:
        learner = new_learner(case)
        run(learner, STREAM)
        learner.rebaseline(np.array([1]), STREAM.times_ms[-1:], np.array([5.0]))
        undisturbed = new_learner(case)
        run(undisturbed, STREAM)
        for slot in (0, 2):
            part = STREAM.only(slot)
            assert bits(run(learner, part)) == bits(run(undisturbed, part))


@every_learner
class TestCopies:
    def test_taken_in_parts_while_others_learn_are_of_the_moment_they_were_begun(self, case: str) -> None:
        learner, slots, middle = new_learner(case), np.array([2, 0, 1]), slice(100, 150)
        run(learner, STREAM)
        at_once, in_parts = learner.begin_copy(slots), learner.begin_copy(slots)
        at_once.take(np.array([0, 1, 2]))
        in_parts.take(np.array([1]))
        for slot in (0, 2):
            if slot == 2:
                in_parts.take(np.array([0, 2]))
            part = STREAM.only(slot)
            learner.score(part.slots[middle], part.times_ms[middle], part.values[middle], ScoreColumns.empty(50))
        learner.reserve(1000)
        assert {name: column.tobytes() for name, column in in_parts.columns().items()} == {
            name: column.tobytes() for name, column in at_once.columns().items()
        }

    def test_of_a_compiled_learner_go_on_with_the_same_bits(self, case: str) -> None:
        learner, heir, slots = new_learner(case), new_learner(case), np.array([2, 0, 1])
        run(learner, STREAM)
        copy = learner.begin_copy(slots)
        copy.take(np.arange(3))
        heir.restore(slots, copy.columns())
        if copy.columns():
            assert bits(run(heir, STREAM)) == bits(run(learner, STREAM))
        else:
            assert heir.samples_seen(0) == 0


@every_learner
class TestAnswers:
    def test_every_column_is_nan_while_warming_up(self, case: str) -> None:
        learner = new_learner(case)
        out = run(learner, STREAM)
        for slot in range(3):
            early = np.flatnonzero(STREAM.slots == slot)[: learner.warm_up_samples]
            assert bits(out, early) == bits(ScoreColumns.empty(len(early)))

    def test_every_series_has_a_score_after_the_warm_up(self, case: str) -> None:
        out = run(new_learner(case), STREAM)
        assert np.isfinite(out.score[450:]).all()
        assert np.isfinite(out.deviation[450:]).all()

    def test_scores_stay_on_their_scale(self, case: str) -> None:
        out = run(new_learner(case), STREAM)
        scored = np.isfinite(out.score)
        assert np.array_equal(scored, np.isfinite(out.deviation))
        assert (out.deviation[scored] >= 0.0).all()
        assert (out.score[scored] >= 0.0).all()
        assert (out.score[scored] < 100.0).all()

    def test_the_score_is_strictly_monotone_in_the_deviation_with_50_at_the_edge(self, case: str) -> None:
        out = run(new_learner(case), STREAM)
        scored = np.isfinite(out.score)
        deviations, first = np.unique(out.deviation[scored], return_index=True)
        scores = out.score[scored][first]
        assert len(deviations) > 10
        assert (np.diff(scores) > 0.0).all()
        assert np.array_equal(scores > 50.0, deviations > 1.0)

    def test_a_band_where_there_is_one_has_its_edge_at_deviation_1(self, case: str) -> None:
        out = run(new_learner(case), STREAM)
        banded = np.isfinite(out.lower)
        assert np.array_equal(banded, np.isfinite(out.upper))
        assert np.array_equal(banded, np.isfinite(out.expected))
        lower, expected, upper = out.lower[banded], out.expected[banded], out.upper[banded]
        assert (lower <= expected).all()
        assert (expected <= upper).all()
        outside = (STREAM.values[banded] < lower) | (STREAM.values[banded] > upper)
        assert np.array_equal(outside, out.deviation[banded] > 1.0)

    def test_an_empty_batch_is_fine(self, case: str) -> None:
        nothing = np.array([], dtype=np.int64)
        assert new_learner(case).score(nothing, nothing, np.array([]), ScoreColumns.empty(0)) == 0


@pytest.mark.parametrize("case", OUTLIER_CASES)
def test_a_value_far_out_deviates(case: str) -> None:
    learner = new_learner(case)
    series = STREAM.only(0)
    run(learner, series)
    far = ScoreColumns.empty(1)
    learner.score(series.slots[:1], series.times_ms[-1:] + 60_000, series.values[-1:] * 10.0, far)
    assert far.deviation[0] > 1.0


@every_learner
class TestBookkeeping:
    def test_samples_are_counted_per_series(self, case: str) -> None:
        learner = new_learner(case)
        run(learner, STREAM)
        counts = [learner.samples_seen(slot) for slot in range(4)]
        assert counts == [int((STREAM.slots == slot).sum()) for slot in range(4)]

    def test_state_is_told_in_bytes(self, case: str) -> None:
        learner = new_learner(case)
        run(learner, STREAM)
        assert learner.state_bytes() >= 3 * 16, "a count and one number for each of the three series, at least"

    def test_nothing_fails_on_an_ordinary_stream(self, case: str) -> None:
        learner = new_learner(case)
        assert learner.score(STREAM.slots, STREAM.times_ms, STREAM.values, ScoreColumns.empty(600)) == 0

    def test_a_learner_names_itself(self, case: str) -> None:
        learner = new_learner(case)
        assert learner.name
        assert learner.version >= 1
        assert learner.warm_up_samples > 0
