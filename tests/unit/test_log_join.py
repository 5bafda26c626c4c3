"""Lines that go on in other records, joined: what belongs together, in which order it comes out, and the bounds."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from detector.batches import Reject, SeriesKey
from detector.decoders.log_join import Joiner, JoinLimits
from detector.errors import SnapshotRefusedError
from detector.log_batches import BEGINS, CONTINUES, ENDS_TRACEBACK, PARTIAL, WHOLE, LogBatch

KEYS: tuple[SeriesKey, ...] = (("logs", b"a"), ("logs", b"b\nc"), ("logs", b""))


class Line(NamedTuple):
    """A line as a decoder gives it."""

    key: int
    part: int
    text: bytes
    time_ms: int = 5
    trace: str | None = None


class Found(NamedTuple):
    """A line as it comes out of the joiner."""

    offset: int
    key: SeriesKey
    text: bytes
    time_ms: int
    severity: int
    trace: str | None


def batch_of(lines: Sequence[Line], first: int = 0) -> LogBatch:
    traces = [line.trace for line in lines]
    return LogBatch(
        rows=np.arange(len(lines)),
        offsets=np.arange(first, first + len(lines)),
        keys=[KEYS[line.key] for line in lines],
        times_ms=np.array([line.time_ms for line in lines], np.int64),
        severities=np.array([(first + place) % 6 for place in range(len(lines))], np.int8),
        lines=[line.text for line in lines],
        parts=np.array([line.part for line in lines], np.int8),
        traces=traces if any(traces) else None,
        rejects=[],
        formats={"plain": len(lines)},
    )


def found_in(batch: LogBatch) -> list[Found]:
    assert not batch.parts.any()
    traces = batch.traces or [None] * len(batch)
    columns = (batch.offsets, batch.keys, batch.lines, batch.times_ms, batch.severities, traces)
    return [Found(int(row[0]), row[1], row[2], int(row[3]), int(row[4]), row[5]) for row in zip(*columns, strict=True)]


def texts(joiner: Joiner, *lines: Line) -> list[bytes]:
    """All that comes out, held lines included."""
    return [*joiner.feed(batch_of(lines)).lines, *joiner.flush().lines]


begins = st.builds(
    Line,
    st.integers(0, 2),
    st.just(BEGINS),
    st.sampled_from([b"x", b"Traceback (most", b"long" * 6]),
    st.just(5),
    st.none(),
)
line = st.one_of(
    begins,
    st.builds(
        Line,
        st.integers(0, 2),
        st.sampled_from([WHOLE, CONTINUES, PARTIAL, BEGINS, ENDS_TRACEBACK]),
        st.sampled_from([b"", b" at y", b"Traceback", b"E: 1", b"long" * 6]),
        st.sampled_from([5, 6, -1]),
        st.sampled_from([None, "t1"]),
    ),
).map(lambda each: each if each.part in {CONTINUES, ENDS_TRACEBACK} else each._replace(time_ms=max(each.time_ms, 5)))
one_key = line.map(lambda each: each._replace(key=0, part=BEGINS if each.part == WHOLE else each.part))
limits = st.sampled_from([JoinLimits(), JoinLimits(keys=1), JoinLimits(record_lines=2, record_bytes=20, bytes=40)])


MANY: tuple[SeriesKey, ...] = tuple(("logs", b"%d" % number) for number in range(12))
parts = st.sampled_from([BEGINS] * 6 + [WHOLE, CONTINUES, CONTINUES, PARTIAL, ENDS_TRACEBACK])
texts_of_parts = st.sampled_from([b"", b"x", b" at y", b"Traceback (most", b"E: 1", b"a longer line of a log"])
many_keys = st.lists(
    st.builds(
        Line, st.integers(0, 11), parts, texts_of_parts, st.sampled_from([5, 6, 7, -1]), st.sampled_from([None, "t1"])
    ),
    max_size=120,
)


def _many(lines: Sequence[Line], first: int = 0) -> LogBatch:
    """Lines of twelve services, whose keys are equal and not the same objects."""
    batch = batch_of([line._replace(key=0) for line in lines], first)
    return replace(batch, keys=[(MANY[line.key][0], bytes(bytearray(MANY[line.key][1]))) for line in lines])


def _run(
    lines: Sequence[Line], sizes: Sequence[int], bounds: JoinLimits
) -> tuple[list[Found], list[tuple[int, str]], object]:
    joiner, out, rejects, at = Joiner(bounds), list[Found](), list[tuple[int, str]](), 0
    for size in (*sizes, len(lines)):
        part = lines[at : at + size]
        if not part:
            break
        given_batch = batch_of(part, at)
        got = joiner.feed(given_batch)
        out += found_in(got)
        rejects += [(reject.offset, reject.detail) for reject in got.rejects]
        assert got.formats == given_batch.formats
        at += len(part)
    counts = joiner.counts
    out += found_in(joiner.flush())
    assert len(joiner) == 0
    return out, rejects, counts


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    lines=st.one_of(st.lists(line, max_size=40), st.lists(one_key, max_size=40)),
    sizes=st.lists(st.integers(1, 12), max_size=12),
    bounds=limits,
)
def test_any_cut_gives_the_same_lines_in_the_same_order(
    lines: list[Line], sizes: list[int], bounds: JoinLimits
) -> None:
    assert _run(lines, sizes, bounds) == _run(lines, [1] * len(lines), bounds)


def _outcome(joiner: Joiner, batches: Sequence[LogBatch]) -> tuple[list[Found], list[Reject], dict[str, bytes]]:
    """What comes out of a joiner, and what it waits with in the end."""
    found: list[Found] = []
    rejects: list[Reject] = []
    for batch in batches:
        got = joiner.feed(batch)
        held_over = got.rows < 0
        assert (got.offsets[held_over] < (batch.offsets[0] if len(batch) else 0)).all()
        assert (batch.offsets[got.rows[~held_over]] == got.offsets[~held_over]).all()
        found += found_in(got)
        rejects += [reject._replace(row=0) for reject in got.rejects]
    waiting = {name: column.tobytes() for name, column in joiner.columns().items()}
    return [*found, *found_in(joiner.flush())], rejects, waiting


@settings(derandomize=True, deadline=None, max_examples=400)
@given(lines=many_keys, sizes=st.lists(st.integers(1, 60), max_size=6))
def test_many_services_at_once_are_as_line_by_line(lines: list[Line], sizes: list[int]) -> None:
    alone = [_many([line], at) for at, line in enumerate(lines)]
    ends = list(accumulate(sizes, initial=0))
    batches = [_many(lines[start:stop], start) for start, stop in pairwise([*ends, max(len(lines), ends[-1])])]
    first, second = Joiner(), Joiner()
    assert _outcome(first, batches) == _outcome(second, alone)
    assert first.counts == second.counts


@settings(derandomize=True, deadline=None, max_examples=300)
@given(lines=many_keys)
def test_what_has_to_be_watched_for_room_comes_out_the_same_where_there_is_room(lines: list[Line]) -> None:
    might_wait = sum(len(line.text) + 1 for line in lines)
    joiner, watched = Joiner(), Joiner(JoinLimits(keys=12, bytes=max(might_wait - 1, 1)))
    found, again = _outcome(joiner, [_many(lines)]), _outcome(watched, [_many(lines)])
    event(f"released: {watched.counts.released > 0}")
    if watched.counts.released == 0:
        assert again == found
        assert watched.counts == joiner.counts


@settings(derandomize=True, deadline=None, max_examples=200)
@given(lines=st.lists(line, max_size=40), sizes=st.lists(st.integers(1, 12), max_size=12))
def test_nothing_is_lost(lines: list[Line], sizes: list[int]) -> None:
    out, rejects, _ = _run(lines, sizes, JoinLimits())
    refused = {offset for offset, _ in rejects}
    for key, name in enumerate(KEYS):
        given_text = b"".join(each.text for at, each in enumerate(lines) if each.key == key and at not in refused)
        assert b"".join(each.text for each in out if each.key == name).replace(b"\n", b"") == given_text
    assert all(lines[offset].time_ms == -1 for offset in refused)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(lines=st.lists(line, max_size=30), cut=st.integers(0, 30), bounds=limits)
def test_a_restored_joiner_goes_on_as_the_first(lines: list[Line], cut: int, bounds: JoinLimits) -> None:
    first, second = Joiner(bounds), Joiner(bounds)
    first.feed(batch_of(lines[:cut]))
    columns = first.columns()
    second.restore(columns)
    rest = batch_of(lines[cut:], cut)
    assert found_in(first.feed(rest)) == found_in(second.feed(rest))
    assert found_in(first.flush()) == found_in(second.flush())


class TestJoining:
    def test_a_stack_trace_is_one_record_with_the_time_of_its_first_line(self) -> None:
        joiner = Joiner()
        joiner.feed(batch_of([Line(0, BEGINS, b"failed", 7, "t9")]))
        got = joiner.feed(batch_of([Line(0, CONTINUES, b"\tat x", 8), Line(0, BEGINS, b"next", 9)], 1))
        assert found_in(got) == [Found(0, KEYS[0], b"failed\n\tat x", 7, 0, "t9")]
        assert got.rows.tolist() == [-1]
        assert joiner.counts.joined == 1

    def test_pieces_are_joined_without_a_line_feed(self) -> None:
        parts = [Line(0, PARTIAL, b"one "), Line(0, PARTIAL, b"two "), Line(0, BEGINS, b"end"), Line(0, BEGINS, b"x")]
        assert texts(Joiner(), *parts) == [b"one two end", b"x"]

    def test_a_piece_that_ends_with_a_whole_line_comes_out_at_once(self) -> None:
        joiner = Joiner()
        got = joiner.feed(batch_of([Line(0, PARTIAL, b"one "), Line(0, WHOLE, b"end")]))
        assert got.lines == [b"one end"]
        assert len(joiner) == 0

    def test_an_exception_ends_a_traceback_once(self) -> None:
        trace = [Line(0, BEGINS, b"oops"), Line(0, CONTINUES, b"Traceback"), Line(0, ENDS_TRACEBACK, b"KeyError: 1")]
        assert texts(Joiner(), *trace, trace[2]) == [b"oops\nTraceback\nKeyError: 1", b"KeyError: 1"]

    def test_an_exception_goes_on_with_no_other_record(self) -> None:
        assert texts(Joiner(), Line(0, BEGINS, b"oops"), Line(0, ENDS_TRACEBACK, b"E: 1")) == [b"oops", b"E: 1"]

    def test_a_line_that_goes_on_with_nothing_is_one(self) -> None:
        assert texts(Joiner(), Line(0, CONTINUES, b"\tat x"), Line(0, CONTINUES, b"\tat y")) == [b"\tat x\n\tat y"]

    def test_a_line_that_goes_on_with_nothing_and_has_no_time_is_refused(self) -> None:
        got = Joiner().feed(batch_of([Line(0, CONTINUES, b"\tat x", -1)]))
        assert [(reject.row, reject.reason) for reject in got.rejects] == [(0, "time_unreadable")]
        assert not got.lines

    def test_services_do_not_mix(self) -> None:
        lines = [Line(0, BEGINS, b"a"), Line(1, BEGINS, b"b"), Line(0, CONTINUES, b" a2"), Line(1, CONTINUES, b" b2")]
        assert texts(Joiner(), *lines) == [b"a\n a2", b"b\n b2"]

    def test_lines_come_out_in_the_order_of_their_release(self) -> None:
        lines = [Line(0, BEGINS, b"a"), Line(1, BEGINS, b"b"), Line(1, BEGINS, b"b2"), Line(0, BEGINS, b"a2")]
        got = Joiner().feed(batch_of(lines))
        assert got.lines == [b"b", b"a"]
        assert got.rows.tolist() == [1, 0]

    def test_each_record_that_is_refused_has_one_reject(self) -> None:
        lines = [Line(0, CONTINUES, b" a", -1), Line(0, CONTINUES, b" b", -1), Line(1, CONTINUES, b" c", -1)]
        batch = replace(batch_of(lines), rows=np.array([0, 0, 1]), rejects=[Reject(1, 1, "malformed", "x")])
        got = Joiner().feed(batch)
        assert [(reject.row, reject.reason) for reject in got.rejects] == [(0, "time_unreadable"), (1, "malformed")]


class TestPassing:
    def test_whole_lines_pass_as_the_same_batch(self) -> None:
        batch = batch_of([Line(0, WHOLE, b"a"), Line(1, WHOLE, b"b")])
        assert Joiner().feed(batch) is batch

    def test_whole_lines_of_other_services_pass_those_that_wait(self) -> None:
        joiner = Joiner()
        joiner.feed(batch_of([Line(0, BEGINS, b"a")]))
        batch = batch_of([Line(1, WHOLE, b"b")])
        assert joiner.feed(batch) is batch

    def test_a_whole_line_releases_what_waits_for_its_service(self) -> None:
        assert texts(Joiner(), Line(0, BEGINS, b"a"), Line(0, WHOLE, b"b")) == [b"a", b"b"]


class TestFlush:
    def test_gives_what_is_older_in_the_order_of_arrival(self) -> None:
        joiner = Joiner()
        joiner.feed(batch_of([Line(1, BEGINS, b"b", 7), Line(0, BEGINS, b"a", 6), Line(2, BEGINS, b"c", 8)]))
        got = joiner.flush(8)
        assert got.lines == [b"b", b"a"]
        assert got.rows.tolist() == [-1, -1]
        assert got.offsets.tolist() == [0, 1]
        assert len(joiner) == 1

    def test_of_nothing_is_empty(self) -> None:
        assert len(Joiner().flush()) == 0


class TestBounds:
    def test_a_record_keeps_so_many_lines(self) -> None:
        joiner = Joiner(JoinLimits(record_lines=2))
        lines = [Line(0, BEGINS, b"a"), *[Line(0, CONTINUES, b" b")] * 3]
        assert texts(joiner, *lines) == [b"a\n b"]
        assert (joiner.counts.joined, joiner.counts.left_out) == (3, 2)

    def test_a_record_keeps_so_many_bytes(self) -> None:
        joiner = Joiner(JoinLimits(record_bytes=6))
        assert texts(joiner, Line(0, BEGINS, b"abc"), Line(0, CONTINUES, b" 1234"), Line(0, CONTINUES, b" x")) == [
            b"abc\n 1"
        ]
        assert joiner.counts.left_out == 2

    def test_the_longest_wait_ends_when_too_many_wait(self) -> None:
        joiner = Joiner(JoinLimits(keys=2))
        got = joiner.feed(batch_of([Line(key, BEGINS, b"x%d" % key) for key in range(3)]))
        assert got.lines == [b"x0"]
        assert joiner.counts.released == 1

    def test_the_longest_wait_ends_when_what_waits_is_too_large(self) -> None:
        joiner = Joiner(JoinLimits(bytes=5))
        assert joiner.feed(batch_of([Line(0, BEGINS, b"abc"), Line(1, BEGINS, b"abc")])).lines == [b"abc"]
        assert joiner.counts.released == 1


class TestRefused:
    @pytest.mark.parametrize("name", sorted(Joiner().columns()))
    def test_a_column_is_missing(self, name: str) -> None:
        columns = Joiner().columns()
        del columns[name]
        with pytest.raises(SnapshotRefusedError, match=name):
            Joiner().restore(columns)

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("version", [2], "version"),
            ("text_sizes", [9, 1], "sizes"),
            ("key_sizes", [-1, 9], "sizes"),
            ("offsets", [-1, 0], "negative"),
            ("severities", [0, 6], "severities"),
            ("keys", b"logs\nalogs\na", "twice"),
            ("keys", b"logs-alogs\nb", "without a name"),
        ],
    )
    def test_what_does_not_fit(self, name: str, value: object, words: str) -> None:
        joiner = Joiner()
        joiner.feed(batch_of([Line(0, BEGINS, b"one"), Line(2, BEGINS, b"two")]))
        columns = joiner.columns()
        columns["keys"], columns["key_sizes"] = np.frombuffer(b"logs\nalogs\nb", np.uint8), np.array([6, 6])
        new = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.array(value, columns[name].dtype)
        with pytest.raises(SnapshotRefusedError, match=words):
            Joiner().restore({**columns, name: new})
