"""The law of the miner: templates are a function of the service's lines in order, and of nothing else.

Any cut into batches, caches emptied at any moment, restores from a snapshot at any moment: the same numbers, the same
changes at the same lines, the same state.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.state import encode
from detector.state.snapshot import SnapshotHeader, decode
from detector.templates import Change, MinerLimits, TemplateMiner, laid_out, taken_apart
from tests.log_lines import random_lines, service_lines

HEADER: Final = SnapshotHeader(
    config_hash="", cluster="", topic="", partition=0, offset=0, watermark_ms=0, series_count=0, open_episodes=0
)
Step = tuple[int, str]
"""Lines to mine, and what to do then."""

steps = st.lists(st.tuples(st.integers(1, 90), st.sampled_from(["go on", "clear", "restore"])), max_size=25)
limits = st.builds(
    MinerLimits,
    templates=st.sampled_from([12, 40, 2_000]),
    leaf_templates=st.sampled_from([4, 200]),
    leaves_per_length=st.sampled_from([1, 3, 128]),
    cache_entries=st.sampled_from([1, 7, 10_000]),
    cache_bytes=st.sampled_from([100, 100_000]),
    window_lines=st.sampled_from([50, 300]),
)
streams = st.tuples(st.integers(0, 50), st.sampled_from([0, 1, 4])).map(lambda drawn: stream(*drawn))


def stream(seed: int, noise: int) -> list[bytes]:
    """Lines of a service, with one random line for each ``4 / noise`` of them."""
    lines = service_lines(600, seed)
    random = iter(random_lines(600, seed))
    return [each for row, line in enumerate(lines) for each in ((line, next(random)) if row % 4 < noise else (line,))]


def columns_of(miner: TemplateMiner) -> dict[str, Any]:
    """The state, as a snapshot has it."""
    return {name: column.tolist() for name, column in laid_out([miner.copy()]).items()}


def restored(miner: TemplateMiner, bounds: MinerLimits) -> TemplateMiner:
    """The miner that comes out of a snapshot of this one."""
    copy = miner.copy()
    (kept,) = taken_apart(decode(encode(HEADER, lambda: laid_out([copy]))).columns)
    return TemplateMiner.of(kept, bounds)


def mined(lines: Sequence[bytes], bounds: MinerLimits, plan: Sequence[Step]) -> tuple[list[int], list[Change], Any]:
    """Numbers, changes by line of the stream, and the state in the end."""
    miner = TemplateMiner(bounds)
    numbers: list[int] = []
    changes: list[Change] = []
    for count, then in [*plan, (len(lines), "go on")]:
        start = len(numbers)
        numbers += miner.mine(lines[start : start + count]).tolist()
        changes += [change._replace(row=change.row + start) for change in miner.changes]
        if then == "clear":
            miner.clear_caches()
        elif then == "restore":
            miner = restored(miner, bounds)
    return numbers, changes, columns_of(miner)


@settings(max_examples=60, deadline=None)
@given(streams, limits, steps)
def test_cuts_caches_and_restores_change_nothing(lines: list[bytes], bounds: MinerLimits, plan: list[Step]) -> None:
    whole = mined(lines, bounds, [])
    assert mined(lines, bounds, plan) == whole
    roomy = replace(bounds, cache_entries=100_000, cache_bytes=2**24)
    assert mined(lines, roomy, []) == whole


@settings(max_examples=10, deadline=None)
@given(streams, limits)
def test_line_by_line_without_any_cache_gives_the_same(lines: list[bytes], bounds: MinerLimits) -> None:
    miner = TemplateMiner(bounds)
    numbers = []
    for line in lines:
        numbers += miner.mine([line]).tolist()
        miner.clear_caches()
    assert (numbers, columns_of(miner)) == mined(lines, bounds, [])[::2]


@settings(max_examples=20, deadline=None)
@given(st.lists(streams, min_size=1, max_size=3), limits)
def test_miners_of_one_snapshot_come_back_as_they_were(all_lines: list[list[bytes]], bounds: MinerLimits) -> None:
    miners = [TemplateMiner(bounds) for _ in all_lines]
    for miner, lines in zip(miners, all_lines, strict=True):
        miner.mine(lines[::2])
    copies = [miner.copy() for miner in miners]
    expected = [miner.mine(lines).tolist() for miner, lines in zip(miners, all_lines, strict=True)]
    back = [TemplateMiner.of(kept, bounds) for kept in taken_apart(laid_out(copies))]
    assert [miner.mine(lines).tolist() for miner, lines in zip(back, all_lines, strict=True)] == expected
    assert [columns_of(miner) for miner in back] == [columns_of(miner) for miner in miners]


@settings(max_examples=20, deadline=None)
@given(streams, limits)
def test_counts_add_up(lines: list[bytes], bounds: MinerLimits) -> None:
    miner = TemplateMiner(bounds)
    seen: dict[int, int] = {}
    for start in range(0, len(lines), 100):
        numbers = miner.mine(lines[start : start + 100])
        rows = iter([*miner.changes, Change(len(numbers), "created", -1, -1)])
        change = next(rows)
        for row, number in enumerate(numbers.tolist()):
            while change.row == row:
                if change.kind == "merged":
                    seen[change.into] += seen.pop(change.number)
                elif change.kind == "evicted":
                    seen.pop(change.number, None)
                else:
                    seen[change.number] = 0
                change = next(rows)
            if number:
                seen[number] += 1
    live = miner.numbers().tolist()
    assert {number: miner.template(number).count for number in live} == seen
    counts = miner.counts
    assert counts.created - counts.merged - counts.evicted == len(live)
    assert np.unique([miner.template(number).id for number in live]).size == len(live)
