"""The bank: rows of learners for slots of a partition."""

import numpy as np
import pytest

from detector.batches import ScoreColumns
from detector.learners import LearnerBank, ResidualLearner, RiverLearner
from tests.contracts.learner_cases import RIVER_SPECS, Stream, bits, new_learner, run


def two() -> tuple[LearnerBank, ResidualLearner, RiverLearner]:
    """A bank and its two learners."""
    residual, river = ResidualLearner(), RiverLearner(RIVER_SPECS["gaussian"])
    return LearnerBank([residual, river]), residual, river


class TestRouting:
    def test_one_learner_answers_as_it_would_alone(self) -> None:
        stream = Stream(300)
        bank = LearnerBank([ResidualLearner()])
        for slot in (2, 0, 1):
            bank.open(slot, 0)
        assert bits(run(bank, stream, (10, 200))) == bits(run(new_learner("residual"), stream))

    def test_every_slot_is_answered_by_its_own_learner(self) -> None:
        bank, residual, river = two()
        bank.open(0, 0)
        bank.open(1, 1)
        bank.open(2, 0)
        out = run(bank, Stream(300))
        banded = np.isfinite(out.expected[250:])
        assert np.array_equal(banded, Stream(300).slots[250:] != 1)
        assert bank.learner_of(2) is residual
        assert bank.learner_of(1) is river

    def test_failures_of_all_learners_are_added_up(self) -> None:
        bank, _, _ = two()
        bank.open(0, 0)
        bank.open(1, 1)
        nothing = np.array([], dtype=np.int64)
        assert bank.score(nothing, nothing, np.array([]), ScoreColumns.empty(0)) == 0


class TestRows:
    def test_two_learners_do_not_both_pay_for_every_slot(self) -> None:
        bank, residual, _ = two()
        for slot in range(1000):
            bank.open(slot, 1)
        bank.open(1000, 0)
        assert residual.state_bytes() == 64 * 320

    def test_rows_grow_by_doubling(self) -> None:
        learner = ResidualLearner()
        bank = LearnerBank([learner])
        sizes = set()
        for slot in range(1000):
            bank.open(slot, 0)
            sizes.add(learner.state_bytes() // 320)
        assert sizes == {64, 128, 256, 512, 1024}

    def test_released_rows_are_used_again_before_new_ones(self) -> None:
        learner = ResidualLearner()
        bank = LearnerBank([learner])
        for slot in range(64):
            bank.open(slot, 0)
        bank.release(np.arange(64))
        for slot in range(500, 564):
            bank.open(slot, 0)
        assert learner.state_bytes() == 64 * 320

    def test_a_slot_that_is_opened_again_holds_a_new_series(self) -> None:
        bank, _, _ = two()
        for slot in range(3):
            bank.open(slot, slot % 2)
        stream = Stream(300)
        first = run(bank, stream)
        bank.release(np.arange(3))
        for slot in (1, 2, 0):
            bank.open(slot, slot % 2)
        assert [bank.samples_seen(slot) for slot in range(3)] == [0, 0, 0]
        assert bits(run(bank, stream)) == bits(first)

    def test_a_slot_may_change_its_learner_by_being_released(self) -> None:
        bank, residual, river = two()
        bank.open(5, 0)
        assert bank.learner_of(5) is residual
        bank.release(np.array([5]))
        bank.open(5, 1)
        assert bank.learner_of(5) is river

    def test_opening_a_slot_twice_is_our_own_mistake(self) -> None:
        bank = LearnerBank([ResidualLearner()])
        bank.open(0, 0)
        with pytest.raises(AssertionError):
            bank.open(0, 0)


def test_state_bytes_hold_every_learner_and_the_routing() -> None:
    bank, residual, river = two()
    for slot in range(3):
        bank.open(slot, slot % 2)
    run(bank, Stream(60))
    assert bank.state_bytes() == residual.state_bytes() + river.state_bytes() + 2 * 64 * 8


def test_samples_are_counted_per_slot() -> None:
    bank, _, _ = two()
    for slot in range(3):
        bank.open(slot, slot % 2)
    stream = Stream(100)
    run(bank, stream)
    assert [bank.samples_seen(slot) for slot in range(3)] == np.bincount(stream.slots).tolist()
