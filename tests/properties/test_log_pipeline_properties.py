"""Any cut of a stream of log records into batches gives the same events, rejects and state, to the bit."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import TIMESTAMP_UNKNOWN, BatchCounts, LogCounts
from detector.log_pipeline import LogPipeline
from detector.state import Snapshot, decode, encode
from tests.log_records import (
    BEGIN_S,
    TOPIC,
    fluentbit_line,
    json_line,
    log_pipeline,
    log_records,
    plain_line,
    shipped_records,
)
from tests.streams import cuts

Story = tuple[list[bytes], list[tuple[int, str]], dict[str, int], dict[str, Any]]
COUNTED = ("lines_joined", "lines_other", "lines_cut", "templates_created", "templates_merged", "templates_evicted")


@cache
def stream() -> tuple[bytes, ...]:
    """Ninety minutes of a shop."""
    return tuple(log_records())


STAMP_MS = 1_000 * (BEGIN_S + 3_600)
"""Broker's timestamps of what is sent later, all at once."""


@cache
def lines_in_json() -> tuple[bytes, ...]:
    """The other stream: lines of files inside of JSON, and stack traces line by line among them."""
    return tuple(shipped_records())


def told(
    subject: LogPipeline, values: Sequence[bytes], sizes: Sequence[int], stamp_ms: int = TIMESTAMP_UNKNOWN
) -> Story:
    """Everything that came out, in order, and the state at the end."""
    events: list[bytes] = []
    rejects: list[tuple[int, str]] = []
    totals, logs = BatchCounts(), LogCounts()
    offset = 0
    for batch in cuts(values, sizes, timestamp_ms=stamp_ms, topic=TOPIC):
        output = subject.process(batch)
        events += [event.value for event in output.events]
        rejects += [(reject.offset, reject.reason) for reject in output.rejects]
        for name in BatchCounts.__slots__:
            setattr(totals, name, getattr(totals, name) + getattr(output.counts, name))
        assert output.logs is not None
        for name in (*COUNTED, "windows_closed", "windows_skipped"):
            setattr(logs, name, getattr(logs, name) + getattr(output.logs, name))
        offset = output.next_offset
    counted = set(BatchCounts.__slots__) - {"aliases_cleared", "decoder_fallbacks"}
    counts = {name: getattr(totals, name) for name in counted} | {name: getattr(logs, name) for name in COUNTED}
    return events, rejects, counts, columns_of(snapshot_of(subject, offset))


def snapshot_of(subject: LogPipeline, offset: int) -> Snapshot:
    return decode(encode(*subject.snapshot(offset=offset, cluster="c")))


def columns_of(snapshot: Snapshot) -> dict[str, Any]:
    return {name: column.tobytes() for name, column in snapshot.columns.items()}


def crowded() -> LogPipeline:
    """Room for two of three services and for few templates: something is evicted all the time."""
    return log_pipeline(limits={"services_per_partition": 2, "templates_per_service": 16, "held_keys_max": 1})


@cache
def whole(kind: Callable[[], LogPipeline]) -> Story:
    """What is told where nothing is cut."""
    return told(kind(), stream(), [])


sizes = st.lists(st.integers(1, 900), max_size=40)


class TestAnyCut:
    @settings(derandomize=True, deadline=None, max_examples=10)
    @given(sizes=sizes)
    def test_of_a_shop(self, sizes: list[int]) -> None:
        assert told(log_pipeline(), stream(), sizes) == whole(log_pipeline)

    @settings(derandomize=True, deadline=None, max_examples=6)
    @given(sizes=sizes)
    def test_under_constant_eviction(self, sizes: list[int]) -> None:
        assert told(crowded(), stream(), sizes) == whole(crowded)
        assert whole(crowded)[2]["series_evicted"] > 10

    def test_one_record_at_a_time(self) -> None:
        some = stream()[:1500]
        assert told(log_pipeline(), some, [1] * len(some)) == told(log_pipeline(), some, [])


class TestASnapshot:
    @settings(derandomize=True, deadline=None, max_examples=8)
    @given(at=st.integers(1, len(log_records()) - 1))
    def test_goes_on_as_if_nothing_had_happened(self, at: int) -> None:
        first = log_pipeline()
        before = [
            event.value for batch in cuts(stream()[:at], [], topic=TOPIC) for event in first.process(batch).events
        ]
        restored = log_pipeline()
        assert restored.restore(snapshot_of(first, at), cluster="c") == at
        assert columns_of(snapshot_of(restored, at)) == columns_of(snapshot_of(first, at))
        assert restored.watermark_ms == first.watermark_ms
        assert restored.open_episodes == first.open_episodes
        rest = [
            event.value
            for batch in cuts(stream(), [at], topic=TOPIC)
            if batch.offsets[0] == at
            for event in restored.process(batch).events
        ]
        events, _, _, state = whole(log_pipeline)
        assert [*before, *rest] == events
        assert columns_of(snapshot_of(restored, len(stream()))) == state


@cache
def whole_in_json(kind: Callable[[], LogPipeline]) -> Story:
    """What is told of lines in JSON where nothing is cut."""
    return told(kind(), lines_in_json(), [], STAMP_MS)


class TestTracesInJson:
    @settings(derandomize=True, deadline=None, max_examples=12)
    @given(sizes=sizes)
    def test_any_cut_gives_the_same(self, sizes: list[int]) -> None:
        assert told(log_pipeline(), lines_in_json(), sizes, STAMP_MS) == whole_in_json(log_pipeline)

    @settings(derandomize=True, deadline=None, max_examples=6)
    @given(sizes=sizes)
    def test_any_cut_gives_the_same_under_constant_eviction(self, sizes: list[int]) -> None:
        assert told(crowded(), lines_in_json(), sizes, STAMP_MS) == whole_in_json(crowded)

    @pytest.mark.parametrize("kind", [log_pipeline, crowded])
    def test_one_record_at_a_time(self, kind: Callable[[], LogPipeline]) -> None:
        alone = [1] * len(lines_in_json())
        assert told(kind(), lines_in_json(), alone, STAMP_MS) == whole_in_json(kind)

    @settings(derandomize=True, deadline=None, max_examples=20)
    @given(at=st.integers(1, len(shipped_records()) - 1))
    def test_a_snapshot_at_any_record_goes_on_as_if_nothing_had_happened(self, at: int) -> None:
        first, restored = log_pipeline(), log_pipeline()
        before, after = cuts(lines_in_json(), [at], timestamp_ms=STAMP_MS, topic=TOPIC)
        events = [event.value for event in first.process(before).events]
        assert restored.restore(snapshot_of(first, at), cluster="c") == at
        events += [event.value for event in restored.process(after).events]
        expected, _, _, state = whole_in_json(log_pipeline)
        assert events == expected
        assert columns_of(snapshot_of(restored, len(lines_in_json()))) == state

    def test_the_stream_is_not_trivial(self) -> None:
        events, _, counts, _ = whole_in_json(log_pipeline)
        assert events
        assert counts["late"] > 0
        assert counts["lines_joined"] > 300
        assert counts["series_created"] == 4


class TestTheStreamItself:
    def test_is_not_trivial(self) -> None:
        events, rejects, counts, _ = whole(log_pipeline)
        assert counts["opened"] >= 1
        assert counts["closed"] >= 1
        assert len(events) == counts["opened"] + counts["updated"] + counts["closed"]
        assert rejects
        assert counts["late"] > 0
        assert counts["lines_joined"] > 50
        assert counts["series_created"] == 3
        assert counts["samples"] >= counts["scored"] + counts["late"]


def test_columns_are_numbers() -> None:
    pipeline = log_pipeline()
    for batch in cuts(stream()[:500], [], topic=TOPIC):
        pipeline.process(batch)
    columns = snapshot_of(pipeline, 500).columns
    assert all(np.issubdtype(column.dtype, np.number) or column.dtype == np.bool_ for column in columns.values())


def test_forgetting_what_is_remembered_for_speed_changes_nothing() -> None:
    assert told(log_pipeline(limits={"cached_lines_max": 3}), stream(), [50] * 100) == whole(log_pipeline)


def test_a_line_that_goes_on_with_nothing_is_of_no_later_time_than_the_others() -> None:
    resent_ms = 1_000 * (BEGIN_S + 30 * 86_400)
    values = [json_line(BEGIN_S, "cart", "info", "ready"), b"\tat com.acme.Shop.pay(Shop.java:42)"]
    values += [plain_line(BEGIN_S + 1, "info", "ready"), plain_line(BEGIN_S + 1, "info", "ready")]
    pipeline = log_pipeline()
    for batch in cuts(values, [], timestamp_ms=resent_ms, topic=TOPIC):
        pipeline.process(batch)
    assert pipeline.watermark_ms == 1_000 * (BEGIN_S + 1)
    assert pipeline._series.last_ms.max() <= pipeline.watermark_ms


def test_what_waits_before_any_line_tells_a_time_is_of_the_first_that_is_told() -> None:
    frame = b'{"service": "shop", "message": "\\tat com.acme.shop.Stock.take(Stock.java:9)"}'
    values = [frame, frame, b'{"service": "shop", "message": "KeyError: 7"}', frame]
    values += [fluentbit_line(BEGIN_S + second, "cart", "item 7 taken") for second in (0, 90, 180)]
    whole, alone = log_pipeline(), log_pipeline()
    assert told(whole, values, [], STAMP_MS) == told(alone, values, [1] * len(values), STAMP_MS)
    assert whole.watermark_ms == 1_000 * (BEGIN_S + 180)
    assert whole.series_count == 2
    assert whole._series.last_ms[:2].tolist() == [1_000 * BEGIN_S, 1_000 * (BEGIN_S + 90)]


def test_a_line_that_goes_on_with_nothing_has_the_newest_time_at_its_arrival() -> None:
    values = [
        fluentbit_line(BEGIN_S + 58, "cart", "item 7 taken"),
        b'{"service": "shop", "message": "KeyError: 7"}',
        b'{"service": "shop", "message": "ready", "time": %d}' % (BEGIN_S + 59),
        fluentbit_line(BEGIN_S + 61, "cart", "item 8 taken"),
    ]
    whole = told(log_pipeline(), values, [], STAMP_MS)
    assert whole == told(log_pipeline(), values, [1] * len(values), STAMP_MS)
    assert whole == told(log_pipeline(), values, [3], STAMP_MS)


def test_exceptions_before_any_time_is_told_are_late() -> None:
    values = [b"KeyError: 1", b"KeyError: 2", b"\tat com.acme.shop.Stock.take(Stock.java:9)", b"KeyError: 3"]
    values += [plain_line(BEGIN_S + second, "info", "ready") for second in (0, 90, 180)]
    _, rejects, counts, _ = told(log_pipeline(), values, [], STAMP_MS)
    assert not rejects
    assert (counts["late"], counts["lines_joined"], counts["scored"]) == (2, 1, 3)
