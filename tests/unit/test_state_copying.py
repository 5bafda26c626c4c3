"""A copy in slices: what it takes when, and when it is over."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detector.columns import Columns, RecordsCopy, WholeCopy, fields_of, grown, put_fields
from detector.errors import SnapshotRefusedError
from detector.state import SnapshotHeader, StateCopy, decode, encode
from tests.pipelines import pipeline
from tests.streams import batch_of, record

HEADER = SnapshotHeader(
    config_hash="h", cluster="c", topic="t", partition=0, offset=1, watermark_ms=5, series_count=2, open_episodes=0
)
ROW = np.dtype([("a", np.int64), ("b", np.float32, (3,)), ("c", np.uint8)], align=True)


def numbers(size: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Records of which no two are alike."""
    rows = np.zeros(size, ROW)
    rows["a"] = np.arange(size)
    rows["b"] = np.arange(3 * size).reshape(size, 3) / 2
    rows["c"] = np.arange(size) % 251
    return rows


class Room:
    """A state of numbered records and a copy of those at ``slots``."""

    def __init__(self, size: int, slots: list[int]) -> None:
        self.rows = numbers(size)
        self.slots = np.array(slots, dtype=np.int64)
        part = RecordsCopy(lambda: self.rows, self.slots)
        self.copy = StateCopy(HEADER, self.slots, {"room": part})

    def change(self, *slots: int) -> None:
        """Say so, then change."""
        self.copy.save(np.array(slots, dtype=np.int64))
        live = [slot for slot in slots if 0 <= slot < len(self.rows)]
        self.rows["a"][live] = -1


class TestSlices:
    def test_hold_no_more_slots_than_asked_for(self) -> None:
        room = Room(10, [1, 3, 5, 7, 9])
        assert [room.copy.advance(2) for _ in range(3)] == [False, False, True]
        assert room.copy.columns()["room.a"].tolist() == [1, 3, 5, 7, 9]

    def test_pass_over_what_was_saved_already(self) -> None:
        room = Room(10, list(range(10)))
        room.change(0, 1, 2, 3)
        assert not room.copy.advance(2)
        room.rows["a"][4:6] = -1
        assert room.copy.advance(4)
        assert room.copy.columns()["room.a"].tolist() == list(range(10))

    def test_a_change_before_its_slice_does_not_show(self) -> None:
        room = Room(6, [0, 2, 4])
        room.copy.advance(1)
        room.change(4, 4, 0, 4)
        assert room.copy.advance()
        assert room.copy.columns()["room.a"].tolist() == [0, 2, 4]

    def test_slots_that_are_not_in_the_copy_do_not_matter(self) -> None:
        room = Room(6, [0, 2, 4])
        room.change(-1, 1, 3, 5, 6, 10**9)
        assert room.copy.advance()
        assert room.copy.columns()["room.a"].tolist() == [0, 2, 4]

    def test_follow_an_array_that_moves(self) -> None:
        room = Room(4, [0, 1, 2, 3])
        room.copy.advance(2)
        room.rows = grown(room.rows, 100, numbers(1))
        room.change(3)
        assert room.copy.advance()
        assert room.copy.columns()["room.a"].tolist() == [0, 1, 2, 3]

    def test_of_nothing_are_complete_at_once(self) -> None:
        room = Room(0, [])
        assert room.copy.complete
        assert room.copy.advance()
        assert room.copy.columns()["room.b"].shape == (0, 3)


class TestTheEnd:
    def test_changes_after_it_are_not_copied(self) -> None:
        room = Room(4, [0, 1, 2, 3])
        while not room.copy.advance(1):
            pass
        room.change(0)
        assert room.copy.columns()["room.a"].tolist() == [0, 1, 2, 3]

    def test_columns_are_not_given_before_it(self) -> None:
        room = Room(4, [0, 1, 2, 3])
        room.copy.advance(3)
        with pytest.raises(AssertionError, match="when all of it is there"):
            room.copy.columns()

    def test_a_dropped_copy_never_comes_to_it(self) -> None:
        room = Room(4, [0, 1, 2, 3])
        room.copy.drop()
        room.change(0)
        with pytest.raises(AssertionError, match="dropped"):
            room.copy.advance()
        with pytest.raises(AssertionError, match="dropped"):
            room.copy.columns()


class TestOfAPipeline:
    def test_there_is_one_at_a_time(self) -> None:
        subject = pipeline()
        subject.process(batch_of([record("m", 60, 1.0), record("n", 60, 1.0)]))
        first = subject.begin_snapshot(offset=2, cluster="c")
        second = subject.begin_snapshot(offset=2, cluster="c")
        with pytest.raises(AssertionError, match="dropped"):
            first.advance()
        assert second.advance()

    def test_a_complete_one_is_not_dropped(self) -> None:
        subject = pipeline()
        subject.process(batch_of([record("m", 60, 1.0)]))
        first = subject.begin_snapshot(offset=1, cluster="c")
        assert first.advance()
        subject.begin_snapshot(offset=1, cluster="c")
        assert encode(first.header, first.columns) == encode(*subject.snapshot(offset=1, cluster="c"))

    def test_the_header_is_of_the_beginning(self) -> None:
        subject = pipeline()
        subject.process(batch_of([record("m", 60, 1.0)]))
        copy = subject.begin_snapshot(offset=1, cluster="c")
        subject.process(batch_of([record("n", 120, 1.0)], first_offset=1))
        assert copy.advance()
        header = decode(encode(copy.header, copy.columns)).header
        assert (header.offset, header.watermark_ms, header.series_count) == (1, 60_000, 1)

    def test_one_that_nobody_holds_is_forgotten(self) -> None:
        subject = pipeline()
        subject.process(batch_of([record("m", 60, 1.0)]))
        subject.begin_snapshot(offset=1, cluster="c")
        subject.process(batch_of([record("m", 120, 1.0)], first_offset=1))
        assert subject._copy is None


class TestRecordsAsColumns:
    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 9000])
    def test_and_back_are_the_same_records(self, size: int) -> None:
        rows, slots = np.zeros(size + 10, ROW), np.random.default_rng(1).permutation(size + 10)[:size]
        put_fields(rows, slots, fields_of(numbers(size)))
        for name in ROW.names or ():
            np.testing.assert_array_equal(rows[slots][name], numbers(size)[name])
        assert rows["a"].sum() == numbers(size)["a"].sum(), "and nothing else was written"

    @pytest.mark.parametrize("change", [{"a": None}, {"b": np.zeros((4, 2), np.float32)}, {"c": np.zeros(4, np.int8)}])
    def test_that_do_not_fit_are_refused(self, change: Mapping[str, NDArray[Any] | None]) -> None:
        whole: dict[str, NDArray[Any] | None] = {**fields_of(numbers(4))}
        columns = {name: column for name, column in (whole | {**change}).items() if column is not None}
        with pytest.raises(SnapshotRefusedError, match=f"column {next(iter(change))}"):
            put_fields(numbers(4), np.arange(4), columns)

    def test_a_whole_copy_is_what_it_was_made_of(self) -> None:
        columns: Columns = {"a": np.arange(3)}
        copy = WholeCopy(lambda: columns)
        copy.take(np.arange(2))
        assert copy.columns() is columns
