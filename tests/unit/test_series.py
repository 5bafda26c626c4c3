"""Identity, the bounded table from keys to slots, eviction, and the order of time."""

import numpy as np
import pytest

from detector.batches import SeriesIdentity, SeriesKey
from detector.columns import Columns
from detector.series import NO_SLOT, SeriesTable, admit, identify


def resolve(key: SeriesKey) -> SeriesIdentity | str:
    name, raw = key
    return "fault" if raw == b"bad" else identify(name, {"id": raw.decode().strip()})


def route(table: SeriesTable, *raws: bytes, start: int = 0) -> tuple[list[int], int, list[int]]:
    slots = np.full(len(raws), -9, dtype=np.int64)
    routed = table.route([("m", raw) for raw in raws], start, slots, resolve)
    return slots.tolist(), routed.stop, routed.created


class TestIdentity:
    def test_the_order_of_labels_does_not_matter(self) -> None:
        assert identify("m", {"b": "2", "a": "1"}) == identify("m", {"a": "1", "b": "2"})

    def test_an_empty_label_equals_an_absent_one(self) -> None:
        assert identify("m", {"a": ""}) == identify("m", {})

    def test_values_are_quoted_so_that_no_two_series_read_alike(self) -> None:
        tricky = identify("m", {"a": '1",b="2'}).canonical
        assert tricky != identify("m", {"a": "1", "b": "2"}).canonical

    def test_the_fingerprint_is_fixed_for_ever(self) -> None:
        assert identify("cpu", {"host": "web-3", "cpu": "0"}).canonical == 'cpu{cpu="0",host="web-3"}'
        assert identify("cpu", {"host": "web-3", "cpu": "0"}).fingerprint == "617276071880c389"


class TestRouting:
    def test_the_same_key_keeps_its_slot(self) -> None:
        table = SeriesTable(10, 100)
        assert route(table, b"a", b"b", b"a") == ([0, 1, 0], 3, [0, 1])
        assert route(table, b"b", b"a") == ([1, 0], 2, [])

    def test_two_spellings_of_one_series_share_a_slot(self) -> None:
        table = SeriesTable(10, 100)
        assert route(table, b"a", b" a")[0] == [0, 0]
        assert len(table) == 1

    def test_a_fault_takes_no_slot_and_is_handed_back(self) -> None:
        table = SeriesTable(10, 100)
        slots = np.zeros(2, dtype=np.int64)
        routed = table.route([("m", b"bad"), ("m", b"a")], 0, slots, resolve)
        assert slots.tolist() == [NO_SLOT, 0]
        assert [(fault.position, fault.cause) for fault in routed.faults] == [(0, "fault")]

    def test_a_full_alias_table_is_emptied_and_counted_and_loses_no_series(self) -> None:
        table = SeriesTable(10, 2)
        route(table, b"a", b"b", b"c")
        assert table.take_aliases_cleared() == 1
        assert table.take_aliases_cleared() == 0
        assert route(table, b"a", b"b", b"c")[0] == [0, 1, 2]

    def test_state_arrays_grow_to_the_limit_and_no_further(self) -> None:
        table = SeriesTable(1000, 2000)
        route(table, *(str(number).encode() for number in range(1000)))
        assert table.capacity == 1000


class TestEviction:
    def test_routing_stops_where_the_table_is_full(self) -> None:
        table = SeriesTable(2, 100)
        slots, stop, created = route(table, b"a", b"b", b"c", b"a")
        assert (slots[:2], stop, created) == ([0, 1], 2, [0, 1])

    def test_the_series_seen_longest_ago_goes_first(self) -> None:
        table = SeriesTable(2, 100)
        route(table, b"a", b"b")
        table.last_ms[:] = [2000, 1000]
        assert table.victims().tolist() == [1]
        table.evict(table.victims())
        assert route(table, b"c", b"a") == ([1, 0], 2, [1])

    def test_an_evicted_series_comes_back_as_a_new_one(self) -> None:
        table = SeriesTable(1, 100)
        route(table, b"a")
        table.evict(table.victims())
        assert len(table) == 0
        assert route(table, b"a") == ([0], 1, [0])

    def test_a_large_table_gives_up_one_in_sixty_four(self) -> None:
        table = SeriesTable(128, 1000)
        route(table, *(str(number).encode() for number in range(128)))
        table.last_ms[:] = np.arange(128)[::-1]
        assert table.victims().tolist() == [126, 127]


def same_digest(key: SeriesKey) -> SeriesIdentity:
    """Identities that all have one fingerprint."""
    return SeriesIdentity("m", {"id": key[1].decode()}, f"m {key[1].decode()}", "00000000000000ff")


def copied(table: SeriesTable) -> Columns:
    """Everything but the aliases."""
    copy = table.begin_copy(table.live_slots())
    copy.take(np.arange(len(table)))
    return copy.columns()


class TestOneFingerprintForSeveralSeries:
    """64 bits may coincide; series are then told apart by their text."""

    def routed(self, table: SeriesTable, *raws: bytes) -> list[int]:
        slots = np.full(len(raws), -9, dtype=np.int64)
        table.route([("m", raw) for raw in raws], 0, slots, same_digest)
        return slots.tolist()

    def test_each_has_its_own_slot_however_it_is_written(self) -> None:
        table = SeriesTable(10, 2)
        assert self.routed(table, b"a", b"b", b"c", b"b", b"a") == [0, 1, 2, 1, 0]
        assert len(table) == 3
        assert [table.identity(slot).labels["id"] for slot in range(3)] == ["a", "b", "c"]

    def test_the_limit_counts_all_of_them(self) -> None:
        table = SeriesTable(2, 10)
        assert self.routed(table, b"a", b"b", b"c") == [0, 1, -9]

    @pytest.mark.parametrize("gone", [0, 1, 2])
    def test_one_that_is_evicted_leaves_the_others(self, gone: int) -> None:
        table = SeriesTable(10, 2)
        self.routed(table, b"a", b"b", b"c")
        table.evict(np.array([gone]))
        assert len(table) == 2
        kept = [slot for slot in range(3) if slot != gone]
        assert self.routed(table, *(b"abc"[slot : slot + 1] for slot in kept)) == kept
        assert self.routed(table, b"d", b"abc"[gone : gone + 1]) == [gone, 3]
        assert len(table) == 4

    def test_they_come_back_from_a_snapshot(self) -> None:
        table, heir = SeriesTable(10, 20), SeriesTable(10, 20)
        self.routed(table, b"a", b"b", b"c", b"d")
        table.evict(np.array([1]))
        columns = copied(table)
        assert heir.restore(columns).tolist() == [0, 2, 3]
        assert len(heir) == 3
        assert {name: column.tobytes() for name, column in copied(heir).items()} == {
            name: column.tobytes() for name, column in columns.items()
        }
        assert self.routed(heir, b"d", b"b", b"a", b"c") == [3, 1, 0, 2]


class TestOrderOfTime:
    @pytest.mark.parametrize(
        ("times", "accepted", "late", "repeated"),
        [
            ([1, 2, 3], [True, True, True], 0, 0),
            ([2, 1, 3], [True, False, True], 1, 0),
            ([2, 2, 2], [True, False, False], 0, 2),
        ],
    )
    def test_late_and_repeated_samples_are_dropped_and_counted(
        self, times: list[int], accepted: list[bool], late: int, repeated: int
    ) -> None:
        last = np.full(1, np.iinfo(np.int64).min)
        flags = np.ones(3, dtype=np.bool_)
        counts = admit(last, np.zeros(3, dtype=np.int64), np.array(times), flags)
        assert (flags.tolist(), *counts) == (accepted, late, repeated)
        assert last[0] == max(times)

    def test_samples_without_a_series_are_neither_accepted_nor_counted(self) -> None:
        last = np.zeros(1, dtype=np.int64)
        flags = np.ones(1, dtype=np.bool_)
        assert admit(last, np.array([NO_SLOT]), np.array([5]), flags) == (0, 0)
        assert flags.tolist() == [False]
