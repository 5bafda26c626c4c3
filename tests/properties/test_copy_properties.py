"""A copy that is taken in slices, between any batches, is the copy that would have been taken whole."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import Output
from detector.episodes import NoData, Policy
from detector.pipeline import PartitionPipeline
from detector.state import encode
from tests.pipelines import pipeline
from tests.properties.test_pipeline_properties import mixed
from tests.streams import batch_of, record

CLUSTER = "c1"
TURNS = 30
SERIES = 12
Step = tuple[int, int]
"""Records to process, then slots to copy."""


@cache
def churning(turns: int = TURNS) -> tuple[bytes, ...]:
    """Series that last, a few with pauses; some that are never seen again; incidents in between."""
    random = np.random.default_rng(5)
    values: list[bytes] = []
    for turn in range(4 * turns):
        for series in range(SERIES):
            if series % 4 == 3 and turn % 40 > 30:
                continue
            value = (
                10.0 + series + random.normal() + (2.0 * turn if turn > 40 and (turn + 2 * series) % 24 > 18 else 0.0)
            )
            values.append(record("m", 1_750_000_000 + 60 * turn, value, {"id": str(series), "service": "shop"}))
        if turn % 4 == 0:
            fresh = range(int(random.integers(0, 12)))
            values += [record("m", 1_750_000_000 + 60 * turn, 1.0, {"id": f"{turn}-{number}"}) for number in fresh]
    return tuple(values)


def growing() -> PartitionPipeline:
    """Room for all: learners and episodes move to larger arrays on the way."""
    return pipeline()


def evicting() -> PartitionPipeline:
    """Room for four series more than last: those that come push out those that came before."""
    return pipeline(series_limit=SERIES + 4, aliases_max=20)


def crowded() -> PartitionPipeline:
    """Room for fewer than last: whatever is copied was evicted just before or will be."""
    return pipeline(series_limit=SERIES - 3, aliases_max=20)


def watchful() -> PartitionPipeline:
    """Timers change what no record touches: silence ends episodes, is told, and frees slots."""
    policy = Policy("watchful", silence_close_s=120.0, no_data=NoData(intervals=2.0, min_s=0.0))
    return pipeline(policies=[policy], idle_expiry_ms=1_200_000)


def processed(subject: PartitionPipeline, values: Sequence[bytes], start: int, stop: int) -> Output | None:
    """What came of the records ``start`` to ``stop``, if there are any."""
    part = values[start:stop]
    return subject.process(batch_of(part, first_offset=start)) if part else None


def whole_and_sliced(
    subject: PartitionPipeline, values: Sequence[bytes], at: int, steps: Sequence[Step]
) -> tuple[bytes, bytes, int]:
    """The state at record ``at`` copied at once and along these steps, and the record that was reached."""
    processed(subject, values, 0, at)
    whole = encode(*subject.snapshot(offset=at, cluster=CLUSTER))
    copy = subject.begin_snapshot(offset=at, cluster=CLUSTER)
    for records, slots in steps:
        processed(subject, values, at, at + records)
        at += records
        if slots and copy.advance(slots):
            break
    while not copy.advance(1):
        processed(subject, values, at, at + 1)
        at += 1
    processed(subject, values, at, at + 20)
    return whole, encode(copy.header, copy.columns), at + 20


cut = st.integers(0, len(churning()) - 1)
steps = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=12)
every_pipeline = pytest.mark.parametrize("build", [growing, evicting, crowded, mixed, watchful])


@every_pipeline
class TestSliceBySlice:
    @settings(derandomize=True, deadline=None, max_examples=40)
    @given(at=cut, steps=steps)
    def test_gives_the_bytes_of_the_copy_taken_whole(
        self, build: Callable[[], PartitionPipeline], at: int, steps: list[Step]
    ) -> None:
        whole, sliced, _ = whole_and_sliced(build(), churning(), at, steps)
        assert sliced == whole

    @settings(derandomize=True, deadline=None, max_examples=5)
    @given(at=cut, steps=steps)
    def test_changes_nothing_for_the_records(
        self, build: Callable[[], PartitionPipeline], at: int, steps: list[Step]
    ) -> None:
        subject, undisturbed = build(), build()
        *_, reached = whole_and_sliced(subject, churning(), at, steps)
        processed(undisturbed, churning(), 0, reached)
        assert encode(*subject.snapshot(offset=reached, cluster=CLUSTER)) == encode(
            *undisturbed.snapshot(offset=reached, cluster=CLUSTER)
        )


def test_the_stream_is_not_trivial() -> None:
    output = evicting().process(batch_of(churning()))
    assert output.counts.opened > 10
    assert output.counts.closed > 10
    assert output.counts.series_evicted > 100
    watched = watchful().process(batch_of(churning())).counts
    assert watched.series_expired > 100
    assert watched.opened > output.counts.opened, "no data is told, too"
    assert growing().process(batch_of(churning())).counts.series_created > 128, "more than the first rows of a learner"


def test_compiled_and_plain_python_give_the_same_bytes() -> None:
    digests = [
        subprocess.run(
            [sys.executable, "-m", "tests.properties.test_copy_properties"],
            env={**os.environ, "NUMBA_DISABLE_JIT": flag},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for flag in ("0", "1")
    ]
    assert digests[0] == digests[1]
    assert len(set(digests[0].split())) == 3


def digests() -> None:
    """Print one digest per pipeline, after the law was checked for it."""
    values = churning(10)
    for build in (growing, evicting, crowded):
        whole, sliced, _ = whole_and_sliced(build(), values, 300, [(7, 1), (0, 2), (40, 0), (1, 3)])
        assert sliced == whole
        sys.stdout.write(f"{hashlib.sha256(sliced).hexdigest()}\n")


if __name__ == "__main__":
    digests()
