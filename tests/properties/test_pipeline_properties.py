"""Any cut of a stream into batches gives the same events, rejects and scores, to the bit."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import BatchCounts
from detector.episodes import Policy, parse_matchers
from detector.learners import ResidualLearner, RiverLearner, RiverSpec
from detector.pipeline import PartitionPipeline
from tests.pipelines import pipeline
from tests.streams import cuts, record

Story = tuple[list[bytes], list[tuple[int, str]], list[tuple[str, int, str, str]], dict[str, int]]


@cache
def stream() -> tuple[bytes, ...]:
    """Eight series with incidents; late, repeated and broken records, arrays and columns in between."""
    random = np.random.default_rng(3)
    values: list[bytes] = []
    for turn in range(240):
        for series in range(8):
            incident = 100 <= turn < 112 or (series == 2 and 180 <= turn < 190)
            value = 10.0 + series + random.normal() + (40.0 if incident else 0.0)
            labels = {"id": str(series), "service": "shop"} if turn % 2 else {"service": "shop", "id": str(series)}
            values.append(record("m", 1_750_000_000 + 60 * turn, value, labels))
        if turn % 7 == 0:
            values += [b"garbage", record("m", 1_750_000_000, 1.0, {"id": "0", "service": "shop"}), values[-1]]
        if turn % 11 == 0:
            values.append(record("c", [1_750_000_000 + 60 * turn + s for s in range(5)], list(range(5)), {"id": "c"}))
    return tuple(values)


def told(subject: PartitionPipeline, values: Sequence[bytes], sizes: Sequence[int]) -> Story:
    """Everything that came out, in order, offsets instead of rows, floats as exact text."""
    events: list[bytes] = []
    rejects: list[tuple[int, str]] = []
    scores: list[tuple[str, int, str, str]] = []
    totals = BatchCounts()
    for batch in cuts(values, sizes):
        output = subject.process(batch)
        events += [event.value for event in output.events]
        rejects += [(reject.offset, reject.reason) for reject in output.rejects]
        for name in BatchCounts.__slots__:
            setattr(totals, name, getattr(totals, name) + getattr(output.counts, name))
        if output.scored is not None:
            scored = output.scored
            scores += [
                (name, int(time), float.hex(float(score)), float.hex(float(upper)))
                for name, time, score, upper in zip(
                    scored.series, scored.times_ms, scored.scores.score, scored.scores.upper, strict=True
                )
            ]
    # How often the cache of aliases overflows and whole batches can be decoded may depend on the cut, and nothing else.
    counted = set(BatchCounts.__slots__) - {"aliases_cleared", "decoder_fallbacks"}
    return events, rejects, scores, {name: getattr(totals, name) for name in counted}


def plain() -> PartitionPipeline:
    return pipeline(keep_scores=True)


def crowded() -> PartitionPipeline:
    """Room for five of nine series: something is evicted all the time, aliases overflow."""
    return pipeline(series_limit=5, aliases_max=7, keep_scores=True)


def mixed() -> PartitionPipeline:
    """Two learners, one of them river's, chosen by policy."""
    policies = [Policy(name="even", matchers=parse_matchers('{id=~"[0246]"}'), model="river")]
    spec = RiverSpec(path="river.anomaly.StandardAbsoluteDeviation", features=("value", "hour"))
    return pipeline(
        policies=policies,
        learners=[ResidualLearner(), RiverLearner(spec)],
        learner_of_policy=[1, 0],
        keep_scores=True,
    )


sizes = st.lists(st.integers(1, 300), max_size=60)


class TestAnyCut:
    @settings(derandomize=True, deadline=None, max_examples=12)
    @given(sizes=sizes)
    def test_of_a_plain_stream(self, sizes: list[int]) -> None:
        assert told(plain(), stream(), sizes) == told(plain(), stream(), [])

    @settings(derandomize=True, deadline=None, max_examples=12)
    @given(sizes=sizes)
    def test_under_constant_eviction(self, sizes: list[int]) -> None:
        whole = told(crowded(), stream(), [])
        assert told(crowded(), stream(), sizes) == whole
        assert whole[3]["series_evicted"] > 100

    @settings(derandomize=True, deadline=None, max_examples=6)
    @given(sizes=sizes)
    def test_with_two_learners(self, sizes: list[int]) -> None:
        assert told(mixed(), stream(), sizes) == told(mixed(), stream(), [])

    def test_one_record_at_a_time(self) -> None:
        assert told(plain(), stream(), [1] * len(stream())) == told(plain(), stream(), [])


class TestTheStreamItself:
    def test_is_not_trivial(self) -> None:
        events, rejects, scores, counts = told(plain(), stream(), [])
        assert counts["opened"] >= 8
        assert counts["closed"] >= 8
        assert len(events) == counts["opened"] + counts["updated"] + counts["closed"]
        assert len(rejects) == 35
        assert (counts["late"] > 0, counts["repeated"] > 0) == (True, True)
        assert counts["samples"] == len(scores) == counts["scored"] + counts["late"] + counts["repeated"]
        assert counts["series_created"] == 9
