"""What ``auto`` chooses, when, and that nobody can tell the chosen learner from one that was there from the start."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from detector.batches import FloatArray, IntArray, ScoreColumns, SeriesIdentity
from detector.errors import SnapshotRefusedError
from detector.learners import AutoLearner, CountLearner, EnvelopeLearner, Learner, LearnerBank, Scorer, hint_of
from detector.learners.auto_hints import NO_HINT, NOT_COUNTS
from detector.learners.auto_waiting import BY_HINT, CHOICES, DEFAULT, LOW_COUNTS, SAMPLES, choice
from tests.contracts.learner_cases import MINUTE_MS, START_MS, bits

SIZE = 400
NONE: IntArray = np.array([], dtype=np.int64)


def poisson(mean: float, size: int = SIZE, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).poisson(mean, size).astype(np.float64)


def gauge(size: int = SIZE, seed: int = 0) -> FloatArray:
    return 100.0 + np.random.default_rng(seed).normal(size=size)


def times(size: int, start: int = 0) -> IntArray:
    return START_MS + (start + np.arange(size, dtype=np.int64)) * MINUTE_MS


def fed(learner: Learner, values: FloatArray, slot: int = 0, start: int = 0) -> ScoreColumns:
    """The answer to one series, a sample each minute."""
    size = len(values)
    out = ScoreColumns(*(np.full(size, 7.5) for _ in range(6)))
    learner.score(np.full(size, slot), times(size, start), values, out)
    return out


def auto(capacity: int = 8) -> AutoLearner:
    learner = AutoLearner()
    learner.reserve(capacity)
    return learner


def alone(learner: Learner, values: FloatArray, start: int = 0) -> ScoreColumns:
    learner.reserve(1)
    return fed(learner, values, start=start)


def of(learner: AutoLearner, slot: int = 0) -> tuple[str, str]:
    """Name of what scored the last sample of a slot, and why."""
    scorer = learner.scorer_of(slot, learner.samples_seen(slot))
    return scorer.name, scorer.chosen


class TestTheRule:
    @pytest.mark.parametrize("mean", [0.05, 0.2, 1.0, 3.0, 5.0, 8.0])
    def test_poisson_counts_are_counts_but_for_one_series_in_a_thousand(self, mean: float) -> None:
        first = np.random.default_rng(1).poisson(mean, (5_000, SAMPLES)).astype(np.float64)
        assert sum(choice(values, NO_HINT) != LOW_COUNTS for values in first) <= 5

    @pytest.mark.parametrize(
        "values",
        [
            np.zeros(SAMPLES),
            np.eye(SAMPLES)[0],
            np.eye(SAMPLES)[-1],
            np.where(np.arange(SAMPLES) // 8 == 1, poisson(10.0, SAMPLES), poisson(0.3, SAMPLES)),
            np.random.default_rng(2).negative_binomial(0.5, 0.2, SAMPLES).astype(float),
        ],
        ids=["nothing", "the first only", "the last only", "a burst", "overdispersed"],
    )
    def test_so_are_these(self, values: FloatArray) -> None:
        assert choice(values, NO_HINT) == LOW_COUNTS

    @pytest.mark.parametrize(
        "values",
        [
            np.full(SAMPLES, 3.0),
            np.ones(SAMPLES),
            np.where(np.arange(SAMPLES) < 12, 3.0, 4.0),
            np.repeat([0.0, 1.0, 0.0], SAMPLES // 3),
            np.arange(SAMPLES) // 5,
            np.where(np.arange(SAMPLES) < 27, 0.0, 20.0),
            np.cumsum(poisson(0.3, SAMPLES)),
            poisson(1.0, SAMPLES) + 0.5 * np.eye(SAMPLES)[17],
            poisson(1.0, SAMPLES) - 5.0 * np.eye(SAMPLES)[29],
            poisson(20.0, SAMPLES),
            gauge(SAMPLES),
        ],
        ids=[
            *("replicas", "up", "more replicas", "a flag", "a counter", "a counter's jump", "a total", "a fraction"),
            *("a negative", "large counts", "a gauge"),
        ],
    )
    def test_these_are_not(self, values: FloatArray) -> None:
        assert choice(np.asarray(values, dtype=np.float64), NO_HINT) == DEFAULT

    @pytest.mark.parametrize("values", [np.zeros(SAMPLES), poisson(1.0, SAMPLES), gauge(SAMPLES)])
    def test_a_hint_decides_whatever_the_values_are(self, values: FloatArray) -> None:
        assert choice(values, NOT_COUNTS) == BY_HINT


class TestHints:
    @pytest.mark.parametrize(
        "name",
        [
            *("request_duration_seconds", "node_cpu_seconds_total", "disk_bytes", "ec2_disk_write_bytes_1ef3de"),
            *("cpu_usage_percent", "hit_ratio", "room_celsius", "CPUUtilization", "http.server.request.duration"),
            *("up", "kube_pod_status_ready", "build_info"),
        ],
    )
    def test_names_of_measures_and_states(self, name: str) -> None:
        assert hint_of(SeriesIdentity(name, {}, name, "")) == NOT_COUNTS

    @pytest.mark.parametrize(
        "name",
        [
            *("errors", "http_requests_total", "orders", "request_duration_seconds_count", "retries", "Twitter_AAPL"),
            *("http_status_500", "startup_errors", "latency_bucket", "", "1234"),
        ],
    )
    def test_names_that_tell_nothing(self, name: str) -> None:
        assert hint_of(SeriesIdentity(name, {}, name, "")) == NO_HINT

    @pytest.mark.parametrize("unit", ["s", "ms", "By", "KiBy", "%", "Cel", "By/s", "Hz", "seconds", "Percent", "By{x}"])
    def test_units_of_measures(self, unit: str) -> None:
        assert hint_of(SeriesIdentity("errors", {}, "", "", unit)) == NOT_COUNTS

    @pytest.mark.parametrize("unit", ["1", "", "{request}", "{error}", "requests", "Count", "{request}/s", None])
    def test_units_of_counts_or_none(self, unit: str | None) -> None:
        assert hint_of(SeriesIdentity("errors", {}, "", "", unit)) == NO_HINT


class TestTheChosen:
    def test_scores_as_if_it_had_been_there_from_the_start(self) -> None:
        learner = auto()
        assert bits(fed(learner, poisson(1.0), slot=3)) == bits(alone(CountLearner(), poisson(1.0)))
        assert bits(fed(learner, gauge(), slot=5)) == bits(alone(EnvelopeLearner(), gauge()))
        assert (of(learner, 3), of(learner, 5)) == (("counts", "low_counts"), ("envelope", "default"))

    def test_with_a_hint_too(self) -> None:
        learner = auto()
        learner.begin(3, NOT_COUNTS)
        assert bits(fed(learner, poisson(1.0), slot=3)) == bits(alone(EnvelopeLearner(), poisson(1.0)))
        assert of(learner, 3) == ("envelope", "unit")

    def test_is_nobody_until_it_has_been_chosen(self) -> None:
        learner = auto()
        assert of(learner) == ("auto", "warm_up")
        fed(learner, poisson(1.0, SAMPLES - 1))
        assert of(learner) == ("auto", "warm_up")
        assert learner.samples_seen(0) == SAMPLES - 1
        fed(learner, poisson(1.0, 1), start=SAMPLES - 1)
        assert of(learner) == ("counts", "low_counts")
        assert learner.samples_seen(0) == SAMPLES

    def test_keeps_a_series_of_counts_that_grows(self) -> None:
        learner = auto()
        fed(learner, poisson(1.0, 200))
        fed(learner, poisson(500.0, 200), start=200)
        assert of(learner) == ("counts", "low_counts")

    def test_is_forgotten_with_its_series(self) -> None:
        learner = auto()
        learner.begin(0, NOT_COUNTS)
        fed(learner, poisson(1.0))
        learner.reset(np.array([0, 1]))
        assert of(learner) == ("auto", "warm_up")
        assert bits(fed(learner, poisson(1.0))) == bits(alone(CountLearner(), poisson(1.0)))

    def test_may_be_forgotten_before_it_is_chosen(self) -> None:
        learner = auto()
        for slot in range(4):
            fed(learner, gauge(20, slot), slot)
        learner.reset(np.array([0, 2]))
        assert [learner.samples_seen(slot) for slot in range(4)] == [0, 20, 0, 20]
        for slot in (1, 3):
            rest = fed(learner, gauge(100, slot)[20:], slot, start=20)
            assert bits(rest) == bits(alone(EnvelopeLearner(), gauge(100, slot)), slice(20, None))
        assert bits(fed(learner, gauge(100), 2)) == bits(alone(EnvelopeLearner(), gauge(100)))

    def test_knows_its_time_zone(self) -> None:
        zone = EnvelopeLearner()._zone._replace(offsets_ms=np.array([19_800_000]))
        mine = AutoLearner(zone)
        mine.reserve(1)
        days = 50.0 + 10.0 * np.sin(np.arange(3_000) / 229.0) + 0.1 * gauge(3_000)
        assert bits(fed(mine, days)) == bits(alone(EnvelopeLearner(zone), days))
        assert bits(fed(auto(), days)) != bits(alone(EnvelopeLearner(zone), days))


class TestAValueThatNoCountCanHave:
    @pytest.mark.parametrize("wrong", [0.5, -1.0, 1e-300, -0.5])
    def test_makes_a_new_series_of_the_envelope_learner(self, wrong: float) -> None:
        values = poisson(1.0)
        values[100] = wrong
        learner = auto()
        out = fed(learner, values)
        assert bits(out, slice(100)) == bits(alone(CountLearner(), values[:100]))
        assert bits(out, slice(100, None)) == bits(alone(EnvelopeLearner(), values[100:], start=100))
        assert of(learner) == ("envelope", "not_whole")
        assert learner.samples_seen(0) == SIZE
        before, after = learner.scorer_of(0, 100), learner.scorer_of(0, 101)
        assert (before.name, before.chosen, after.name) == ("counts", "low_counts", "envelope")
        assert learner.scorer_of(0, SAMPLES - 1).chosen == "warm_up"

    def test_in_one_batch_with_others(self) -> None:
        """Whatever stands before it, in the same batch, and whoever else leaves."""
        series = [poisson(1.0, seed=seed) for seed in range(5)]
        for seed, first in ((1, 200), (3, 35), (4, 399)):
            series[seed][first] = 0.5
        slots = np.repeat(np.arange(5), SIZE)
        moments = np.tile(times(SIZE), 5)
        order = np.lexsort((slots, moments))
        out, learner = ScoreColumns.empty(5 * SIZE), auto()
        learner.score(slots[order], moments[order], np.concatenate(series)[order], out)
        for slot, values in enumerate(series):
            assert bits(out, slots[order] == slot) == bits(fed(auto(), values))
        assert [of(learner, slot)[1] for slot in range(5)] == [
            *("low_counts", "not_whole", "low_counts", "not_whole", "not_whole")
        ]

    def test_is_no_matter_before_the_choice_or_of_a_gauge(self) -> None:
        learner = auto()
        fed(learner, gauge())
        assert of(learner) == ("envelope", "default")

    def test_a_count_beyond_all_integers_is_whole(self) -> None:
        learner = auto()
        fed(learner, poisson(1.0, 100))
        fed(learner, np.array([1e18, 1e300]), start=100)
        assert of(learner) == ("counts", "low_counts")


class TestMemory:
    def test_a_series_that_has_its_learner_costs_little_more_than_that(self) -> None:
        count = 2_000
        learner, bare = auto(count), EnvelopeLearner()
        bare.reserve(count)
        slots = np.tile(np.arange(count), SAMPLES)
        moments = np.repeat(times(SAMPLES), count)
        learner.score(slots, moments, gauge(len(slots)), ScoreColumns.empty(len(slots)))
        assert of(learner, count - 1) == ("envelope", "default")
        assert learner.state_bytes() - bare.state_bytes() <= 28 * count + 64 * (SAMPLES * 16 + 48)

    def test_room_for_waiting_series_goes_with_them(self) -> None:
        count = 1_000
        learner = auto(count)
        before = learner.state_bytes()
        for start in range(10):
            learner.score(np.arange(count), np.full(count, start), np.zeros(count), ScoreColumns.empty(count))
        assert learner.state_bytes() - before > count * SAMPLES * 16
        learner.reset(np.arange(10, count))
        assert learner.state_bytes() - before < 65 * (SAMPLES * 16 + 48)
        rest = fed(learner, np.zeros(100), slot=7, start=10)
        assert np.isnan(rest.score[: SAMPLES - 10]).all()
        assert np.isfinite(rest.score[SAMPLES - 10 :]).all()


class TestSnapshots:
    def taught(self) -> AutoLearner:
        """Counts, a gauge, one that waits, one with a hint that waits, one that left, one without a sample."""
        learner = auto()
        fed(learner, poisson(1.0, 100), 0)
        fed(learner, gauge(100), 1)
        fed(learner, poisson(1.0, 12), 2)
        learner.begin(3, NOT_COUNTS)
        fed(learner, poisson(1.0, 29), 3)
        fed(learner, np.append(poisson(1.0, 99), 0.5), 4)
        return learner

    def test_a_restored_one_goes_on_with_the_same_bits(self) -> None:
        learner, heir = self.taught(), auto()
        slots = np.array([4, 0, 5, 3, 1, 2])
        copy = learner.begin_copy(slots)
        copy.take(np.arange(6))
        heir.restore(slots, copy.columns())
        again = heir.begin_copy(slots)
        again.take(np.arange(6))
        assert {name: column.tobytes() for name, column in again.columns().items()} == {
            name: column.tobytes() for name, column in copy.columns().items()
        }
        for slot in slots.tolist():
            assert of(heir, slot) == of(learner, slot)
            assert heir.samples_seen(slot) == learner.samples_seen(slot)
            after = poisson(2.0, 100, slot)
            assert bits(fed(heir, after, slot, start=1_000)) == bits(fed(learner, after, slot, start=1_000))
        assert of(heir, 3) == ("envelope", "unit")

    def test_a_copy_does_not_see_what_is_chosen_while_it_is_taken(self) -> None:
        learner, unmoved = self.taught(), self.taught()
        slots = np.arange(6)
        at_once, in_parts = unmoved.begin_copy(slots), learner.begin_copy(slots)
        at_once.take(slots)
        in_parts.take(np.array([2]))
        fed(learner, poisson(1.0, 50), 2, start=12)  # is chosen: the row of slot 3 moves
        in_parts.take(np.array([0, 3, 5]))
        fed(learner, np.array([0.5]), 0, start=100)  # leaves
        fed(learner, poisson(1.0, 3), 3, start=29)
        fed(learner, poisson(1.0, 3), 5)
        in_parts.take(np.array([1, 4]))
        learner.reset(np.array([1, 4]))
        assert {name: column.tobytes() for name, column in in_parts.columns().items()} == {
            name: column.tobytes() for name, column in at_once.columns().items()
        }

    def test_what_the_envelope_learner_had_learnt_when_auto_meant_it_stays_with_it(self) -> None:
        before = EnvelopeLearner()
        before.reserve(3)
        fed(before, poisson(1.0, 100), 2)
        fed(before, gauge(10), 1)
        copy = before.begin_copy(np.arange(3))
        copy.take(np.arange(3))
        learner = auto()
        learner.restore(np.arange(3), copy.columns())
        assert {learner.scorer_of(slot, SAMPLES) for slot in range(3)} == {
            Scorer("envelope", 1, "default", peers=False)
        }
        assert bits(fed(learner, gauge(50), 2, start=100)) == bits(fed(before, gauge(50), 2, start=100))
        assert bits(fed(learner, gauge(50), 1, start=10)) == bits(fed(before, gauge(50), 1, start=10))

    def test_a_bank_restores_one_of_before_as_well(self) -> None:
        old, new = LearnerBank([EnvelopeLearner()]), LearnerBank([AutoLearner()])
        old.open(4, 0)
        old.score(np.full(50, 4), times(50), gauge(50), ScoreColumns.empty(50))
        copy = old.begin_copy(np.array([4]))
        copy.take(np.array([0]))
        new.restore(np.array([4]), copy.columns())
        assert new.scorer_of(4, 50) == Scorer("envelope", 1, "default", peers=False)
        assert new.samples_seen(4) == 50

    @pytest.mark.parametrize(
        ("column", "value"), [("chosen", len(CHOICES)), ("hint", 2), ("0.samples", SAMPLES), ("0.samples", -1)]
    )
    def test_one_that_this_version_cannot_know_is_refused(self, column: str, value: int) -> None:
        copy = self.taught().begin_copy(np.arange(6))
        copy.take(np.arange(6))
        columns = dict(copy.columns())
        columns[column] = np.full_like(columns[column], value)
        with pytest.raises(SnapshotRefusedError):
            auto().restore(np.arange(6), columns)

    @pytest.mark.parametrize("column", ["chosen", "hint", "left_at", "0.values", "1.samples", "2.known"])
    def test_one_with_a_misshapen_column_is_refused(self, column: str) -> None:
        copy = self.taught().begin_copy(np.arange(6))
        copy.take(np.arange(6))
        columns = dict(copy.columns())
        columns[column] = columns[column][:-1]
        with pytest.raises(SnapshotRefusedError):
            auto().restore(np.arange(6), columns)


class TestInABank:
    def test_the_hint_of_a_series_reaches_it(self) -> None:
        bank = LearnerBank([CountLearner(), AutoLearner()])
        bank.open(0, 1, NOT_COUNTS)
        bank.open(1, 1)
        bank.open(2, 0, NOT_COUNTS)
        for slot in range(3):
            bank.score(np.full(100, slot), times(100), poisson(1.0, 100), ScoreColumns.empty(100))
        assert [bank.scorer_of(slot, 100).chosen for slot in range(3)] == ["unit", "low_counts", "policy"]

    def test_a_slot_that_is_opened_again_has_the_hint_of_its_new_series(self) -> None:
        bank = LearnerBank([AutoLearner()])
        bank.open(0, 0, NOT_COUNTS)
        bank.score(np.zeros(50, np.int64), times(50), poisson(1.0, 50), ScoreColumns.empty(50))
        bank.release(np.array([0]))
        bank.open(0, 0)
        bank.score(np.zeros(50, np.int64), times(50), poisson(1.0, 50), ScoreColumns.empty(50))
        assert bank.scorer_of(0, 50) == Scorer("counts", 2, "low_counts", peers=False)

    def test_a_new_level_of_a_waiting_series_is_nothing(self) -> None:
        learner = auto()
        fed(learner, poisson(1.0, 10))
        learner.rebaseline(np.array([0]), times(1, 10), np.array([50.0]))
        rest = poisson(1.0, 100)[10:]
        assert bits(fed(learner, rest, start=10)) == bits(alone(CountLearner(), poisson(1.0, 100)), slice(10, None))


def digest() -> str:
    """Of scores and of a copy, over all that can happen to a series."""
    rng = np.random.default_rng(4)
    learner = auto(6)
    size = 900
    slots = rng.integers(0, 6, size)
    values = rng.poisson(np.array([0.2, 3.0, 50.0, 1.0, 0.0, 7.0])[slots]).astype(np.float64)
    values[slots == 2] += rng.normal(size=int((slots == 2).sum()))
    values[np.flatnonzero(slots == 3)[60]] = 0.25
    out = ScoreColumns.empty(size)
    for start in range(0, size, 77):
        part = slice(start, start + 77)
        columns = ScoreColumns(*(column[part] for column in out.columns()))
        learner.score(slots[part], times(size)[part], values[part], columns)
    copy = learner.begin_copy(np.arange(6))
    copy.take(np.arange(6))
    found = hashlib.sha256()
    for column in (*out.columns(), *(copy.columns()[name] for name in sorted(copy.columns()))):
        found.update(column.tobytes())
    return found.hexdigest()


def test_compiled_and_plain_python_give_the_same_bits() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-m", "tests.unit.test_learners_auto"],
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for disabled in ("0", "1")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


if __name__ == "__main__":
    sys.stdout.write(digest())
