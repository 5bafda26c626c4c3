"""What new series take over from their peers: who those are, what they say, and when it is believed."""

import numpy as np
import pytest

from detector.batches import FloatArray, IntArray, ScoreColumns, SeriesIdentity
from detector.errors import SnapshotRefusedError, UsageError
from detector.learners import AutoLearner, EnvelopeLearner, LearnerBank, Scorer, group_of
from detector.learners.auto_hints import NO_HINT, NOT_COUNTS
from detector.learners.auto_peers import (
    MATURE_SAMPLES,
    NO_GROUP,
    PEERS_SAMPLES,
    SCATTER,
    PeerTable,
    completed,
    prior_size,
    put_together,
)
from detector.learners.auto_waiting import SAMPLES
from detector.settings import CompiledModel, PolicySettings, Settings
from detector.wiring import PipelineFactory
from tests.contracts.learner_cases import MINUTE_MS, START_MS, bits

GROUP = 0xFEDC_BA98_7654_3210
PEERS = 5


def identity(name: str = "cpu", unit: str | None = None, **labels: str) -> SeriesIdentity:
    return SeriesIdentity(name, dict(sorted(labels.items())), "", "", unit)


def noise(size: int, seed: int, level: float = 100.0) -> FloatArray:
    return level + np.random.default_rng(seed).normal(size=size)


def times(size: int, start: int = 0) -> IntArray:
    return START_MS + (start + np.arange(size, dtype=np.int64)) * MINUTE_MS


def fed(learner: AutoLearner | EnvelopeLearner, values: FloatArray, slot: int = 0, start: int = 0) -> ScoreColumns:
    size = len(values)
    out = ScoreColumns.empty(size)
    learner.score(np.full(size, slot), times(size, start), values, out)
    return out


def fleet(samples: int = MATURE_SAMPLES, group: int = GROUP, peer_groups: int = 100) -> AutoLearner:
    """Peers in the slots from 10 on, as of a full hour after they have seen so many samples."""
    learner = AutoLearner(peer_groups=peer_groups)
    learner.reserve(20)
    for slot in range(10, 10 + PEERS):
        learner.begin(slot, NO_HINT, group)
        fed(learner, noise(samples, slot), slot)
    learner.meet()
    return learner


class TestGroups:
    def test_peers_differ_in_where_they_come_from_only(self) -> None:
        one = group_of(identity(pod="a-1", service="shop", node="n1"))
        assert one == group_of(identity(pod="a-2", service="shop", node="n2"))
        assert one not in {
            NO_GROUP,
            group_of(identity(pod="a-1", service="search", node="n1")),
            group_of(identity("memory", pod="a-1", service="shop", node="n1")),
            group_of(identity(unit="s", pod="a-1", service="shop", node="n1")),
        }

    def test_a_series_that_comes_from_nowhere_has_none(self) -> None:
        assert group_of(identity(service="shop")) == NO_GROUP
        assert group_of(identity()) == NO_GROUP

    def test_a_number_fits_the_state(self) -> None:
        assert 0 <= group_of(identity(pod="x")) < 2**64


class TestTheTable:
    def test_holds_what_is_usual_in_each_group(self) -> None:
        groups = np.array([7, 9, 7, 7, 9, NO_GROUP, NO_GROUP, NO_GROUP], dtype=np.uint64)
        sizes = np.array([1.0, 5.0, 3.0, 2.0, 6.0, 1.0, 1.0, 1.0])
        levels = np.array([-10.0, 1.0, 40.0, 10.0, 1.0, 1.0, 1.0, 1.0])
        table = put_together(groups, sizes, levels, 10)
        assert len(table) == 1, "two are too few, and those without a group have nothing in common"
        assert table.prior_of(7).tolist() == [2.0, 0.1, 10.0, 40.0]
        assert not table.prior_of(9).any()
        assert not table.prior_of(NO_GROUP).any()

    def test_does_not_depend_on_the_order_of_its_peers(self) -> None:
        random = np.random.default_rng(1)
        groups = random.integers(1, 40, 500).astype(np.uint64)
        sizes, levels = random.exponential(size=500), random.normal(size=500)
        order = random.permutation(500)
        one, other = (
            put_together(groups, sizes, levels, 30).columns(),
            put_together(groups[order], sizes[order], levels[order], 30).columns(),
        )
        assert {name: column.tobytes() for name, column in one.items()} == {
            name: column.tobytes() for name, column in other.items()
        }

    def test_is_bounded_and_counts_the_smallest_groups_that_it_leaves_out(self) -> None:
        groups = np.repeat(np.arange(1, 6), [3, 5, 4, 9, 3]).astype(np.uint64)
        table = put_together(groups, np.ones(24), np.ones(24), 2)
        assert [group for group in range(1, 6) if table.prior_of(group).any()] == [2, 4]
        assert table.left_out == 3

    def test_peers_of_zero_have_no_size_in_proportion(self) -> None:
        table = put_together(np.full(3, 5, dtype=np.uint64), np.ones(3), np.zeros(3), 2)
        assert table.prior_of(5).tolist() == [1.0, 0.0, 0.0, 0.0]

    @pytest.mark.parametrize("groups", [[3, 2], [2, 2]])
    def test_out_of_order_it_is_refused(self, groups: list[int]) -> None:
        columns = {"group": np.array(groups, dtype=np.uint64), "prior": np.zeros((2, 4))}
        with pytest.raises(SnapshotRefusedError):
            PeerTable.restored(columns)

    @pytest.mark.parametrize("left", ["group", "prior"])
    def test_incomplete_it_is_refused(self, left: str) -> None:
        columns = {"group": np.array([1], dtype=np.uint64), "prior": np.zeros((1, 4))}
        with pytest.raises(SnapshotRefusedError):
            PeerTable.restored({left: columns[left]})


class TestFillingUp:
    PRIOR = np.array([2.0, 0.02, 80.0, 120.0])

    def filled(self, own: FloatArray, prior: FloatArray = PRIOR) -> tuple[bool, IntArray, FloatArray]:
        moments, values = np.zeros(SAMPLES, dtype=np.int64), np.zeros(SAMPLES)
        moments[:PEERS_SAMPLES], values[:PEERS_SAMPLES] = times(PEERS_SAMPLES), own
        return completed(moments, values, prior), moments, values

    def test_the_pattern_is_standard_noise_without_memory(self) -> None:
        assert abs(SCATTER.mean()) < 1e-12
        assert abs((SCATTER**2).mean() - 1.0) < 0.01
        for lag in (1, 2, 3, 4):
            assert abs((SCATTER[lag:] * SCATTER[:-lag]).mean()) < 0.1

    def test_own_samples_come_last_and_the_others_scatter_as_those_of_peers(self) -> None:
        own = noise(PEERS_SAMPLES, 1)
        done, moments, values = self.filled(own)
        assert done
        assert values[-PEERS_SAMPLES:].tolist() == own.tolist()
        assert moments[-PEERS_SAMPLES:].tolist() == times(PEERS_SAMPLES).tolist()
        assert (np.diff(moments) == MINUTE_MS).all()
        assert abs(values[:-PEERS_SAMPLES].mean() - np.median(own)) < 1e-9
        assert abs(values[:-PEERS_SAMPLES].std() - 2.0) < 0.01

    @pytest.mark.parametrize(
        "own",
        [
            100.0 + 4.0 * np.arange(PEERS_SAMPLES),
            noise(PEERS_SAMPLES, 1) + 30.0 * np.eye(PEERS_SAMPLES)[5],
            1e6 * np.arange(PEERS_SAMPLES),
        ],
        ids=["a ramp", "an outlier", "another thing"],
    )
    def test_what_does_not_scatter_as_its_peers_is_left_alone(self, own: FloatArray) -> None:
        done, moments, values = self.filled(own)
        assert not done
        assert values[:PEERS_SAMPLES].tolist() == own.tolist()
        assert not values[PEERS_SAMPLES:].any()
        assert not moments[PEERS_SAMPLES:].any()

    def test_far_from_all_peers_sizes_are_in_proportion(self) -> None:
        assert prior_size(self.PRIOR, 100.0) == prior_size(self.PRIOR, -50.0) == 2.0
        assert prior_size(self.PRIOR, 1_000.0) == 20.0
        assert prior_size(self.PRIOR, -1.0) == 0.02

    @pytest.mark.parametrize("prior", [[0.0, 0.0, 100.0, 100.0], [1.0, 0.0, 1.0, 1.0], [np.inf, 1.0, 90.0, 110.0]])
    def test_peers_that_never_scatter_say_nothing(self, prior: list[float]) -> None:
        assert not self.filled(np.full(PEERS_SAMPLES, 100.0), np.array(prior))[0]


class TestANewSeries:
    def test_with_peers_is_scored_after_eight_samples(self) -> None:
        learner = fleet()
        learner.begin(0, NO_HINT, GROUP)
        values = noise(100, 1)
        values[12] += 40.0
        out = fed(learner, values)
        assert np.isnan(out.score[:PEERS_SAMPLES]).all()
        assert np.isfinite(out.score[PEERS_SAMPLES:]).all()
        assert np.flatnonzero(out.deviation > 1.0)[0] == 12
        assert learner.samples_seen(0) == 100
        assert learner.scorer_of(0, PEERS_SAMPLES) == Scorer("envelope", 1, "default", peers=False)
        assert learner.scorer_of(0, PEERS_SAMPLES - 1).name == "auto"
        assert learner.scorer_of(0, 9) == learner.scorer_of(0, 60) == Scorer("envelope", 1, "default", peers=True)
        assert not learner.scorer_of(0, 61).peers

    def test_keeps_its_hint(self) -> None:
        learner = fleet()
        learner.begin(0, NOT_COUNTS, GROUP)
        fed(learner, noise(50, 1))
        assert learner.scorer_of(0, 50).chosen == "unit"

    @pytest.mark.parametrize("group", [NO_GROUP, GROUP + 1])
    def test_without_peers_is_alone(self, group: int) -> None:
        learner, alone = fleet(), EnvelopeLearner()
        alone.reserve(1)
        learner.begin(0, NO_HINT, group)
        assert bits(fed(learner, noise(100, 1))) == bits(fed(alone, noise(100, 1)))

    def test_that_begins_unlike_its_peers_is_alone(self) -> None:
        ramp = noise(100, 1) - 60.0 * 0.9 ** np.arange(100)
        learner, alone = fleet(), EnvelopeLearner()
        alone.reserve(1)
        learner.begin(0, NO_HINT, GROUP)
        assert bits(fed(learner, ramp)) == bits(fed(alone, ramp))
        assert not learner.scorer_of(0, 50).peers

    def test_takes_over_what_is_known_when_it_begins_and_nothing_later(self) -> None:
        learner, alone = fleet(MATURE_SAMPLES - 1), EnvelopeLearner()
        alone.reserve(1)
        learner.begin(0, NO_HINT, GROUP)
        fed(learner, noise(1, 1)[:0])
        for slot in range(10, 10 + PEERS):
            fed(learner, noise(1, slot), slot, MATURE_SAMPLES)
        learner.meet()
        assert bits(fed(learner, noise(100, 1))) == bits(fed(alone, noise(100, 1)))
        learner.begin(1, NO_HINT, GROUP)
        assert np.isfinite(fed(learner, noise(9, 1), 1).score[-1])

    def test_of_counts_has_no_peers_to_take_over_from(self) -> None:
        learner = AutoLearner()
        learner.reserve(20)
        for slot in range(10, 10 + PEERS):
            learner.begin(slot, NO_HINT, GROUP)
            fed(learner, np.random.default_rng(slot).poisson(1.0, 200).astype(np.float64), slot)
        learner.meet()
        learner.begin(0, NO_HINT, GROUP)
        fed(learner, np.zeros(29))
        assert learner.scorer_of(0, 29).name == "auto"

    def test_is_forgotten_with_its_prior_and_its_group(self) -> None:
        learner, alone = fleet(), EnvelopeLearner()
        alone.reserve(1)
        learner.begin(0, NO_HINT, GROUP)
        learner.begin(1, NO_HINT, GROUP)
        fed(learner, noise(50, 2), 1)
        learner.reset(np.array([0, 1]))
        for slot in (0, 1):
            learner.begin(slot, NO_HINT)
            alone.reset(np.array([0]))
            assert bits(fed(learner, noise(100, 1), slot)) == bits(fed(alone, noise(100, 1)))
            assert learner.samples_seen(slot) == 100

    def test_can_be_forbidden_to_ask(self) -> None:
        learner = fleet(peer_groups=0)
        assert not learner.meets_peers
        learner.begin(0, NO_HINT, GROUP)
        assert np.isnan(fed(learner, noise(29, 1)).score).all()


class TestSnapshots:
    def test_a_restored_learner_knows_the_peers_and_what_was_taken_over(self) -> None:
        learner, heir = fleet(), AutoLearner()
        for slot, samples in ((0, 0), (1, 5), (2, 40)):
            learner.begin(slot, NO_HINT, GROUP)
            fed(learner, noise(samples, slot), slot)
        slots = np.array([2, 11, 0, 10, 1, 12, 13, 14])
        copy = learner.begin_copy(slots)
        copy.take(np.arange(len(slots)))
        learner.meet()
        heir.reserve(20)
        heir.restore(slots, copy.columns())
        for slot, start in ((0, 0), (1, 5), (2, 40)):
            assert heir.samples_seen(slot) == learner.samples_seen(slot)
            rest = noise(40, slot + 50)
            assert bits(fed(heir, rest, slot, start)) == bits(fed(learner, rest, slot, start))
            assert heir.scorer_of(slot, 10) == learner.scorer_of(slot, 10)
        heir.begin(3, NO_HINT, GROUP)
        assert np.isfinite(fed(heir, noise(9, 1), 3).score[-1])


class TestSettings:
    @pytest.mark.parametrize("value", [-1, 1.5, True, "many", 2_000_000])
    def test_a_wrong_number_of_groups_is_one_line(self, value: float | str) -> None:
        settings = Settings(
            models={"m": CompiledModel({"auto": {"peer_groups": value}})},
            policies=(PolicySettings(name="p", model="m"),),
        )
        with pytest.raises(UsageError, match=r"^settings: models\.m: peer_groups should be a whole number from 0 to"):
            PipelineFactory(settings)

    def test_auto_itself_can_be_set(self) -> None:
        zoned = CompiledModel({"auto": {"timezone": "Europe/Berlin", "peer_groups": 0}})
        PipelineFactory(Settings(models={"auto": zoned}))

    def test_a_bank_without_auto_meets_nobody(self) -> None:
        assert not LearnerBank([EnvelopeLearner()]).meets_peers
        assert not LearnerBank([AutoLearner(peer_groups=0)]).meets_peers
        both = LearnerBank([EnvelopeLearner(), AutoLearner()])
        assert both.meets_peers
        assert both.meet() == 0
