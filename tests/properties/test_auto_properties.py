"""The laws of a partition whose series choose their learners: cuts, copies in slices, hand-overs, evictions."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.episodes import NoData, Policy
from detector.learners import AutoLearner, ResidualLearner
from detector.pipeline import PartitionPipeline
from detector.state import decode, encode
from tests.pipelines import pipeline
from tests.properties.test_copy_properties import Step, whole_and_sliced
from tests.streams import batch_of, cuts, record

CLUSTER = "c1"
SERIES = 8
TURNS = 110


@cache
def stream() -> tuple[bytes, ...]:
    """Counts with surges, gauges, seconds, counts that turn out to be none; most begin anew under another name."""
    random = np.random.default_rng(9)
    values: list[bytes] = []
    for turn in range(TURNS):
        moment = 1_750_000_000 + 60 * turn
        surge = 20.0 if turn % 50 > 44 else 0.0
        for series in range(SERIES):
            count = float(random.poisson((0.3, 2.0, 4.0)[series % 3])) + surge
            value = (count, count + 0.1 * random.normal(), count, count + 0.5 * (turn == 60))[series % 4]
            name = "wait_seconds" if series % 4 == 2 else "m"
            life = turn // (40 + series) if series > 3 else 0
            values.append(record(name, moment, value, {"id": f"{series}-{life}"}))
    return tuple(values)


def roomy() -> PartitionPipeline:
    """Room for all."""
    return pipeline(learners=[AutoLearner()], keep_scores=True)


def evicting() -> PartitionPipeline:
    """Whoever comes pushes out another, decided or not."""
    return pipeline(learners=[AutoLearner()], keep_scores=True, series_limit=SERIES + 2, aliases_max=20)


def crowded() -> PartitionPipeline:
    """Room for fewer than there are."""
    return pipeline(learners=[AutoLearner()], keep_scores=True, series_limit=SERIES - 1, aliases_max=20)


def among_others() -> PartitionPipeline:
    """A bank of two learners, of which the second chooses."""
    return pipeline(learners=[ResidualLearner(), AutoLearner()], learner_of_policy=[1], keep_scores=True)


def told(subject: PartitionPipeline, sizes: Sequence[int], start: int = 0) -> tuple[list[bytes], list[str]]:
    """Events, and scores as exact text."""
    events: list[bytes] = []
    scores: list[str] = []
    for batch in cuts(stream()[start:], sizes):
        moved = batch_of(batch.values, first_offset=start + int(batch.offsets[0]))
        output = subject.process(moved)
        assert output.scored is not None
        events += [event.value for event in output.events]
        scores += map(float.hex, output.scored.scores.score.tolist())
    return events, scores


every_pipeline = pytest.mark.parametrize("build", [roomy, evicting, crowded, among_others])


@cache
def undisturbed(build: Callable[[], PartitionPipeline]) -> tuple[list[bytes], list[str]]:
    return told(build(), [])


@every_pipeline
class TestTheLaw:
    @settings(derandomize=True, deadline=None, max_examples=20)
    @given(sizes=st.lists(st.integers(1, 300), max_size=20))
    def test_any_cut_gives_the_same_bits(self, build: Callable[[], PartitionPipeline], sizes: list[int]) -> None:
        assert told(build(), sizes) == undisturbed(build)

    @settings(derandomize=True, deadline=None, max_examples=20)
    @given(
        at=st.integers(0, len(stream()) - 1),
        steps=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=12),
    )
    def test_a_copy_in_slices_is_the_copy_taken_whole(
        self, build: Callable[[], PartitionPipeline], at: int, steps: list[Step]
    ) -> None:
        whole, sliced, _ = whole_and_sliced(build(), stream(), at, steps)
        assert sliced == whole

    @settings(derandomize=True, deadline=None, max_examples=20)
    @given(at=st.integers(1, len(stream()) - 1))
    def test_a_hand_over_at_any_record_changes_nothing(self, build: Callable[[], PartitionPipeline], at: int) -> None:
        subject, heir = build(), build()
        subject.process(batch_of(stream()[:at]))
        data = encode(*subject.snapshot(offset=at, cluster=CLUSTER))
        assert heir.restore(decode(data), cluster=CLUSTER) == at
        assert encode(*heir.snapshot(offset=at, cluster=CLUSTER)) == data
        assert told(heir, [50], at) == told(subject, [], at)


def test_the_stream_is_not_trivial() -> None:
    events, _ = undisturbed(roomy)
    models = {(data["model"]["name"], data["model"]["chosen"]) for data in (orjson.loads(it)["data"] for it in events)}
    assert models == {
        *(("counts", "low_counts"), ("envelope", "default")),
        *(("envelope", "unit"), ("envelope", "not_whole")),
    }
    assert evicting().process(batch_of(stream())).counts.series_evicted > 5


def test_what_ends_before_a_learner_is_chosen_names_none() -> None:
    subject = pipeline(learners=[AutoLearner()], policies=[Policy("silence", no_data=NoData(1.0, 60.0))])
    quiet = [record("errors", 1_750_000_000 + 60 * turn, 0, {"id": "quiet"}) for turn in range(10)]
    others = [record("errors", 1_750_000_000 + 60 * turn, 0, {"id": "other"}) for turn in range(60)]
    (event,) = subject.process(batch_of(quiet + others)).events[:1]
    model = orjson.loads(event.value)["data"]["model"]
    assert (model["name"], model["version"], model["chosen"]) == ("auto", 1, "warm_up")
