"""Timers of whole streams: what a slow model says, whatever the cut, and after any hand-over."""

import itertools
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import Transition
from detector.episodes import EpisodeJudge, NoData, Policy, parse_matchers
from detector.pipeline import PartitionPipeline
from detector.state import decode, encode
from tests.pipelines import pipeline
from tests.streams import batch_of, cuts, record
from tests.unit.episodes_feed import MINUTE_MS, START_MS, Row, feed
from tests.unit.test_episodes_model import Model

SERIES: Final = 4
PAUSES_MS: Final = (0, 1_000, 60_000, 60_000, 60_000, 180_000, 900_000, 7_200_000, 40_000_000)
START_S: Final = 1_750_000_000
EXPIRY_MS: Final = 30_000_000


POLICIES: Final = (
    Policy(
        "fast",
        open_points=1,
        open_window=2,
        close_points=3,
        close_window=4,
        cooldown_s=60.0,
        silence_close_s=600.0,
        no_data=NoData(intervals=2.0, min_s=60.0, severity="warning"),
    ),
    Policy("slow", open_points=1, open_window=2, silence_close_s=7200.0, no_data=NoData(intervals=4.0, min_s=0.0)),
    Policy("plain", open_points=1, open_window=2, cooldown_s=0.0, silence_close_s=1200.0),
    Policy("never", open_points=1, open_window=2, silence_close_s=0.0),
)
"""One per series."""

Fact = tuple[str, str, int, int, int, int, int | None, int, int]


class SlowSeries:
    """One series: the model of its rows, and its silence by the documentation."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.policy = POLICIES[slot]
        self.model = Model(self.policy)
        self.excused_ms = -math.inf
        self.no_data_ms: int | None = None
        self.no_data_count = 0

    def step(self, index: int, row: Row) -> list[Fact]:
        facts: list[Fact] = []
        if self.no_data_ms is not None:
            last_ms = self.last_ms
            facts.append(("metric.no_data", "resumed", self.slot, index, row.time_ms, last_ms, row.time_ms, 2, 1))
            self.no_data_ms = None
        return facts + [fact_of(transition) for transition in self.model.step(index, row)]

    @property
    def last_ms(self) -> int:
        assert self.model.last_ms is not None
        return self.model.last_ms

    def reach(self, index: int, point_ms: int, skipped_ms: int) -> list[Fact]:
        if self.model.last_ms is None:
            return []
        facts: list[Fact] = []
        policy, silent_ms = self.policy, point_ms - self.last_ms
        patience_ms = max(policy.silence_close_s * 1000, math.floor(3 * self.model.gap_ms))
        if policy.silence_close_s and silent_ms > patience_ms:
            for kind, lane in zip(("metric.spike", "metric.dip"), self.model.lanes, strict=True):
                if lane.episode is not None:
                    episode, started_ms = lane.episode, lane.episode.rows[0].row.time_ms
                    sequence, points = episode.sequence + 1, len(episode.rows)
                    lane.close(self.last_ms)
                    facts.append(
                        (kind, "silent", self.slot, index, point_ms, started_ms, self.last_ms, sequence, points)
                    )
        if policy.no_data is None or self.no_data_ms is not None or len(self.model.gaps_ms) < 9:
            return facts
        if skipped_ms > max(self.model.gap_ms, MINUTE_MS):
            self.excused_ms = point_ms
            return facts
        patience_ms = max(policy.no_data.min_s * 1000, math.floor(policy.no_data.intervals * self.model.gap_ms))
        if point_ms - max(self.last_ms, self.excused_ms) > patience_ms:
            self.no_data_ms = point_ms
            facts.append(("metric.no_data", "opened", self.slot, index, point_ms, self.last_ms, None, 1, 0))
        return facts


def fact_of(transition: Transition) -> Fact:
    return (
        transition.kind,
        transition.end_reason or transition.state,
        transition.slot,
        transition.row,
        transition.time_ms,
        transition.started_ms,
        transition.ended_ms,
        transition.sequence,
        transition.points if transition.kind != "metric.no_data" else int(transition.end_reason == "resumed"),
    )


def slowly(rows: Sequence[Row]) -> list[Fact]:
    """Every series is asked at every grid point, row by row."""
    series = [SlowSeries(slot) for slot in range(SERIES)]
    watermark_ms = -1
    facts: list[Fact] = []
    for index, row in enumerate(rows):
        if row.time_ms // MINUTE_MS > watermark_ms // MINUTE_MS:
            point_ms = row.time_ms // MINUTE_MS * MINUTE_MS
            for one in series:
                facts += one.reach(index, point_ms, row.time_ms - watermark_ms)
        watermark_ms = max(watermark_ms, row.time_ms)
        facts += series[row.slot].step(index, row)
    return facts


def judge_of_all(output_rows: int) -> EpisodeJudge:
    judge = EpisodeJudge(POLICIES, output_rows=output_rows)
    judge.reserve(SERIES)
    for slot in range(SERIES):
        judge.open_slot(slot, slot)
    return judge


@st.composite
def partitions(draw: st.DrawFn) -> list[Row]:
    """Series that come and go, some behind the others, with pauses of the whole partition."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    last_ms = [START_MS - int(rng.integers(0, 3)) * 3_000_000 for _ in range(SERIES)]
    rows: list[Row] = []
    now_ms = START_MS
    for _ in range(draw(st.integers(1, 25))):
        talking = [slot for slot in range(SERIES) if rng.random() < 0.6]
        pace_ms = int(rng.choice([20_000, 60_000, 60_000, 300_000]))
        level = float(rng.choice([0.0, 0.0, 3.0, -3.0]))
        for _ in range(int(rng.integers(1, 16))):
            now_ms += pace_ms
            for slot in talking:
                time_ms = now_ms - int(rng.choice([0, 0, 0, 1, 45_000, 1_000_000])) + slot
                if time_ms > last_ms[slot]:
                    last_ms[slot] = time_ms
                    value = level * float(rng.choice([1.0, 1.0, 0.0]))
                    rows.append(Row(time_ms, value, math.nan if rng.random() < 0.05 else abs(value), slot=slot))
        now_ms += int(rng.choice(PAUSES_MS))
    return rows


class TestModel:
    @settings(derandomize=True, deadline=None, max_examples=150)
    @given(rows=partitions(), at=st.lists(st.integers(0, 800), max_size=8), output_rows=st.sampled_from([7, 9, 64]))
    def test_the_kernel_tells_the_story_of_the_slow_model(
        self, rows: list[Row], at: list[int], output_rows: int
    ) -> None:
        judge = judge_of_all(output_rows)
        told: list[Fact] = []
        edges = [0, *sorted(min(place, len(rows)) for place in at), len(rows)]
        for start, stop in itertools.pairwise(edges):
            told += [fact_of(transition) for transition in feed(judge, rows[start:stop], start)]
        assert told == slowly(rows)

    def test_the_streams_reach_every_kind_of_transition(self) -> None:
        seen: set[tuple[str, str]] = set()

        @settings(derandomize=True, deadline=None, max_examples=60, database=None)
        @given(rows=partitions())
        def look(rows: list[Row]) -> None:
            seen.update((kind, what) for kind, what, *_ in slowly(rows))

        look()
        assert {(kind, "silent") for kind in ("metric.spike", "metric.dip")} < seen
        assert {("metric.no_data", "opened"), ("metric.no_data", "resumed")} < seen


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Records of six series that pause, spike, lag and expire; late, repeated and unusable ones in between."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values: list[bytes] = []
    now_s = START_S
    for _ in range(draw(st.integers(4, 14))):
        talking = [series for series in range(6) if rng.random() < 0.7]
        incident = rng.random() < 0.5
        for turn in range(int(rng.integers(1, 40))):
            now_s += 60
            for series in talking:
                value = 10.0 + series + float(rng.normal()) + (60.0 if incident and turn > 5 else 0.0)
                lag_s = int(rng.choice([0, 0, 0, 20, 4000]))
                values.append(record("m", now_s - lag_s, value, {"id": str(series)}))
            if rng.random() < 0.1:
                values.append(record("m", now_s + 70_000_000, 1.0, {"bad": {"not": "a label"}}))
            if rng.random() < 0.05:
                times = [now_s + pause for pause in (0, 1, 5000, 5001)]
                values.append(record("c", times, [1.0, 2.0, 3.0, 4.0], {"id": "columns"}))
        now_s += int(rng.choice([0, 0, 600, 7_200, 20_000, 31_000, 90_000]))
    return values


def watchful(series_limit: int = 100) -> PartitionPipeline:
    return pipeline(
        series_limit=series_limit,
        idle_expiry_ms=EXPIRY_MS,
        policies=[
            Policy(
                "even",
                matchers=parse_matchers('{id=~"[024]"}'),
                open_points=1,
                open_window=1,
                silence_close_s=900.0,
                no_data=NoData(intervals=3.0, min_s=120.0),
            ),
            Policy("rest", open_points=1, open_window=1),
        ],
    )


def told(subject: PartitionPipeline, values: Sequence[bytes], sizes: Sequence[int]) -> tuple[list[bytes], int, bytes]:
    events: list[bytes] = []
    expired = 0
    for batch in cuts(values, sizes):
        output = subject.process(batch)
        events += [event.value for event in output.events]
        expired += output.counts.series_expired
    return events, expired, encode(*subject.snapshot(offset=len(values), cluster="c"))


class TestPipeline:
    @settings(derandomize=True, deadline=None, max_examples=25)
    @given(values=streams(), sizes=st.lists(st.integers(1, 200), max_size=40), limit=st.sampled_from([3, 100]))
    def test_any_cut_gives_the_same_events_and_the_same_snapshot(
        self, values: list[bytes], sizes: list[int], limit: int
    ) -> None:
        assert told(watchful(limit), values, sizes) == told(watchful(limit), values, [])

    @settings(derandomize=True, deadline=None, max_examples=4)
    @given(values=streams())
    def test_one_record_at_a_time_is_a_cut(self, values: list[bytes]) -> None:
        assert told(watchful(), values, [1] * len(values)) == told(watchful(), values, [])

    @settings(derandomize=True, deadline=None, max_examples=25)
    @given(values=streams(), share=st.floats(0.0, 1.0), limit=st.sampled_from([3, 100]))
    def test_a_snapshot_at_any_record_changes_nothing(self, values: list[bytes], share: float, limit: int) -> None:
        at = int(share * len(values))
        whole = watchful(limit)
        if at:
            whole.process(batch_of(values[:at]))
        heir = watchful(limit)
        heir.restore(decode(encode(*whole.snapshot(offset=at, cluster="c"))), cluster="c")
        assert encode(*heir.snapshot(offset=at, cluster="c")) == encode(*whole.snapshot(offset=at, cluster="c"))
        if at == len(values):
            return
        rest = batch_of(values[at:], first_offset=at)
        assert [event.value for event in heir.process(rest).events] == [
            event.value for event in whole.process(rest).events
        ]
        assert encode(*heir.snapshot(offset=0, cluster="c")) == encode(*whole.snapshot(offset=0, cluster="c"))
        assert heir.open_episodes == whole.open_episodes

    def test_the_streams_reach_every_end(self) -> None:
        reasons: dict[bytes, int] = {}
        expired = [0]

        @settings(derandomize=True, deadline=None, max_examples=25, database=None)
        @given(values=streams())
        def look(values: list[bytes]) -> None:
            events, count, _ = told(watchful(), values, [])
            expired[0] += count
            for reason in (b"silent", b"resumed", b"expired", b"recovered"):
                reasons[reason] = reasons.get(reason, 0) + sum(b'"end_reason":"%b"' % reason in e for e in events)

        look()
        assert expired[0] > 20
        assert min(reasons.values()) > 3, reasons
