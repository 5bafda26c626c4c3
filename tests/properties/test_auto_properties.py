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
UNUSABLE_TURN = 172


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
            value = (count, count + 0.1 * random.normal(), count + 2.0 * surge, count + 0.5 * (turn == 60))[series % 4]
            name = "wait_seconds" if series % 4 == 2 else "m"
            life = turn // (40 + series) if series > 3 else 0
            values.append(record(name, moment, value, {"id": f"{series}-{life}"}))
    return tuple(values)


@cache
def fleet() -> tuple[bytes, ...]:
    """Pods of two workloads, most of them replaced after three hours, some with an incident right away."""
    random = np.random.default_rng(10)
    values: list[bytes] = []
    for turn in range(230):
        for pod in range(8):
            age = turn - 185 - pod if pod % 4 else turn
            name = f"{'old' if age < 0 or age == turn else 'new'}-{pod}"
            level = (100.0, 3.0)[pod // 4] * (2.0 if 12 <= age < 17 and pod % 2 else 1.0)
            labels = {"pod": name, "service": ("shop", "search")[pod // 4]}
            values.append(record("m", 1_750_000_000 + 60 * turn, level + 0.02 * level * random.normal(), labels))
        if turn == UNUSABLE_TURN:  # past the next full hour, and no series
            values.append(record("m", 1_750_000_000 + 60 * (turn + 4), 1.0, {"pod": ["nested"]}))
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


def told(
    subject: PartitionPipeline, values: Sequence[bytes], sizes: Sequence[int], start: int = 0
) -> tuple[list[bytes], list[str]]:
    """Events, and scores as exact text, of the records from ``start`` on."""
    events: list[bytes] = []
    scores: list[str] = []
    for batch in cuts(values[start:], sizes):
        moved = batch_of(batch.values, first_offset=start + int(batch.offsets[0]))
        output = subject.process(moved)
        assert output.scored is not None
        events += [event.value for event in output.events]
        scores += map(float.hex, output.scored.scores.score.tolist())
    return events, scores


Build = Callable[[], PartitionPipeline]
Values = Callable[[], tuple[bytes, ...]]

every_case = pytest.mark.parametrize(
    ("build", "values"),
    [*((build, stream) for build in (roomy, evicting, crowded, among_others)), (roomy, fleet), (crowded, fleet)],
)


@cache
def undisturbed(build: Build, values: Values) -> tuple[list[bytes], list[str]]:
    return told(build(), values(), [])


@every_case
class TestTheLaw:
    @settings(derandomize=True, deadline=None, max_examples=15)
    @given(sizes=st.lists(st.integers(1, 300), max_size=20))
    def test_any_cut_gives_the_same_bits(self, build: Build, values: Values, sizes: list[int]) -> None:
        assert told(build(), values(), sizes) == undisturbed(build, values)

    @settings(derandomize=True, deadline=None, max_examples=15)
    @given(data=st.data())
    def test_a_copy_in_slices_is_the_copy_taken_whole(self, build: Build, values: Values, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(values()) - 1))
        steps: list[Step] = data.draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=12))
        whole, sliced, _ = whole_and_sliced(build(), values(), at, steps)
        assert sliced == whole

    @settings(derandomize=True, deadline=None, max_examples=15)
    @given(data=st.data())
    def test_a_hand_over_at_any_record_changes_nothing(self, build: Build, values: Values, data: st.DataObject) -> None:
        at = data.draw(st.integers(1, len(values()) - 1))
        subject, heir = build(), build()
        subject.process(batch_of(values()[:at]))
        kept = encode(*subject.snapshot(offset=at, cluster=CLUSTER))
        assert heir.restore(decode(kept), cluster=CLUSTER) == at
        assert encode(*heir.snapshot(offset=at, cluster=CLUSTER)) == kept
        assert told(heir, values(), [50], at) == told(subject, values(), [], at)


def test_new_pods_are_scored_by_what_their_peers_have_shown() -> None:
    events, _ = undisturbed(roomy, fleet)
    opened = [data for data in (orjson.loads(it)["data"] for it in events) if data["state"] == "opened"]
    assert {data["series"]["labels"]["pod"] for data in opened} == {"new-1", "new-3", "new-5", "new-7"}
    assert {data["quality"]["prior"] for data in opened} == {"peers"}
    assert {data["evidence"]["samples_seen"] for data in opened} == {15}
    output = roomy().process(batch_of(fleet()))
    assert [reject.reason for reject in output.rejects] == ["wrong_type"]
    alone = pipeline(learners=[AutoLearner(peer_groups=0)], keep_scores=True)
    assert told(alone, fleet(), [])[0] == []


def test_the_stream_is_not_trivial() -> None:
    events, _ = undisturbed(roomy, stream)
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
