"""The snapshot format, its chunks and its pointer: whole and unharmed, or refused with the reason."""

import random
import struct
import zlib
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.episodes import LevelShift, NoData, Policy, Stuck
from detector.errors import SnapshotRefusedError
from detector.pipeline import PartitionPipeline
from detector.state import (
    Pointer,
    SnapshotHeader,
    chunks_of,
    decode,
    empty_pointer,
    encode,
    format_pointer,
    joined,
    parse_pointer,
    read_header,
)
from tests.pipelines import pipeline
from tests.properties.test_pipeline_properties import stream
from tests.streams import batch_of, record

GOLDEN: Final = Path(__file__).parent.parent.parent / "schemas" / "examples" / "snapshot.v1.bin"
GOLDEN_TIMERS: Final = GOLDEN.with_name("snapshot.v1.timers.bin")
GOLDEN_KINDS: Final = GOLDEN.with_name("snapshot.v1.kinds.bin")
GOLDEN_SCATTER: Final = GOLDEN.with_name("snapshot.v1.scatter.bin")
LATER: Final = (
    "episodes.excused_ms",
    "episodes.gap_ms",
    "episodes.gaps",
    "episodes.no_data",
    "episodes.no_data_episode",
    "episodes.no_data_ms",
    "series.excused_ms",
)
LATEST: Final = (
    "episodes.changes",
    "episodes.peak_novelty",
    "episodes.same_ms",
    "episodes.same_points",
    "episodes.shift_episode",
    "episodes.shift_level",
    "episodes.shift_next_ms",
    "episodes.shift_points",
    "episodes.shift_spread",
    "episodes.stuck",
    "episodes.stuck_episode",
    "episodes.stuck_ms",
    "episodes.usual_run_ms",
    "learners.0.calm",
    "learners.0.drift",
    "learners.0.first_ms",
    "learners.0.hour",
    "learners.0.hour_level",
    "learners.0.outside",
    "learners.0.outside_ms",
)
SCATTER: Final = (
    "episodes.lean",
    "episodes.spread",
    "episodes.spread_rows",
    "episodes.usual_square",
    "episodes.variance",
    "episodes.variance_episode",
    "episodes.variance_last_ms",
    "episodes.variance_ms",
    "episodes.variance_peak",
    "episodes.variance_points",
    "episodes.variance_started_ms",
    "episodes.variance_usual",
    "episodes.wide_rows",
)
SILENT_AT: Final = 100
HEADER: Final = SnapshotHeader(
    config_hash="h", cluster="c", topic="t", partition=3, offset=41, watermark_ms=5, series_count=2, open_episodes=1
)
POINTER: Final = Pointer(7, 9, 3, 1_234_567, 4_000_000_000, 99, 5, "79e48d9771fcc11f", "Ku6Qf8RdS9WUnTYdYqxoYQ")


def example() -> bytes:
    columns = {
        "b": np.arange(6, dtype=np.int64).reshape(2, 3),
        "a": np.array([0.5, np.nan]),
        "e": np.zeros(0),
    }
    return encode(HEADER, lambda: columns)


TYPED_AT: Final = 1030


def typed_stream() -> list[bytes]:
    """Two series: from the 500th turn on one has a new level and the other stands still; it moves again at the end."""
    values = []
    for turn in range(600):
        moving = turn if turn < 500 or turn > 590 else 0
        values.append(
            record("m", 1_750_000_000 + 60 * turn, 10.0 + turn % 5 + (40.0 if turn >= 500 else 0.0), {"id": "a"})
        )
        values.append(record("m", 1_750_000_000 + 60 * turn, 10.0 + moving % 5, {"id": "b"}))
    return values


def typed_pipeline() -> PartitionPipeline:
    """Under a policy that is quick to tell new levels and standstills."""
    level_shift, stuck = LevelShift(after_s=1_080.0), Stuck(runs=2.0, min_s=600.0, points=5)
    policy = Policy("typed", open_points=3, open_window=5, level_shift=level_shift, stuck=stuck)
    return pipeline(policies=[policy])


SCATTERED_AT: Final = 1_560


def scattered_stream() -> list[bytes]:
    """One series whose noise is six times as large from turn 1,500 to 1,600."""
    noise = random.Random(5)
    values = [10.0 + noise.gauss(0.0, 6.0 if 1500 <= turn < 1600 else 1.0) for turn in range(1700)]
    return [record("m", 1_750_000_000 + 60 * turn, value, {"id": "a"}) for turn, value in enumerate(values)]


def silent_stream() -> list[bytes]:
    """Two series, of which one stops in an incident; at ``SILENT_AT`` it has no data, and its spike is still open."""
    values = []
    for turn in range(150):
        names = ["a", "b"] if turn < 40 or turn > 120 else ["b"]
        for name in names:
            level = 50.0 if name == "a" and 35 <= turn < 40 else 10.0
            values.append(record("m", 1_750_000_000 + 60 * turn, level + turn % 3, {"id": name}))
    return values


def silent_pipeline() -> PartitionPipeline:
    policy = Policy("p", open_points=3, open_window=5, no_data=NoData(intervals=3.0, min_s=120.0))
    return pipeline(policies=[policy], idle_expiry_ms=86_400_000)


def forged(header: dict[str, object]) -> bytes:
    """A snapshot with a right checksum and a header of somebody's choice."""
    head = msgspec.json.encode(msgspec.to_builtins(read_header(example())) | header)
    old = read_length(example())
    data = b"DETSNAP\x01" + struct.pack("<I", len(head)) + head + example()[12 + old : -4]
    return data + struct.pack("<I", zlib.crc32(data))


def read_length(data: bytes) -> int:
    length: int = struct.unpack_from("<I", data, 8)[0]
    return length


class TestFormat:
    def test_what_goes_in_comes_out(self) -> None:
        snapshot = decode(example())
        assert snapshot.header.offset == 41
        assert snapshot.columns["b"].tolist() == [[0, 1, 2], [3, 4, 5]]
        np.testing.assert_array_equal(snapshot.columns["a"], [0.5, np.nan])
        assert snapshot.columns["e"].shape == (0,)

    def test_the_same_state_gives_the_same_bytes(self) -> None:
        assert example() == example()

    def test_the_header_can_be_read_alone(self) -> None:
        assert read_header(example()[:400]).topic == "t"

    @pytest.mark.parametrize("position", range(0, 400, 7))
    def test_a_flipped_bit_is_found(self, position: int) -> None:
        data = bytearray(example())
        data[position % len(data)] ^= 1
        with pytest.raises(SnapshotRefusedError):
            decode(bytes(data))

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(st.integers(0, 500), st.binary(max_size=40))
    def test_cut_or_lengthened_bytes_are_refused(self, length: int, extra: bytes) -> None:
        data = example()[:length] + extra
        if data != example():
            with pytest.raises(SnapshotRefusedError):
                decode(data)

    @pytest.mark.parametrize(
        ("header", "reason"),
        [
            ({"body_bytes": 10**15}, "claims a body"),
            ({"body_bytes": 65}, "does not have the 65 bytes"),
            ({"columns": [["a", "|O", [8]]]}, "no snapshot holds"),
            ({"columns": [["a", "V8", [8]]]}, "no snapshot holds"),
            ({"columns": [["a", "no such type", [8]]]}, "unknown type"),
            ({"columns": [["a", "<f8", [9]]]}, "does not fit"),
            ({"columns": [["a", "<f8", [-8]]]}, "does not fit"),
            ({"columns": [["a", "<f8", [1]]]}, "more than its columns"),
            ({"offset": "x"}, "header cannot be read"),
        ],
    )
    def test_a_forged_header_with_a_right_checksum_is_refused(self, header: dict[str, object], reason: str) -> None:
        with pytest.raises(SnapshotRefusedError, match=reason):
            decode(forged(header))

    def test_another_version_is_refused_with_what_to_do(self) -> None:
        data = example()
        with pytest.raises(
            SnapshotRefusedError, match="format 2, this version reads format 1: run the one that wrote it"
        ):
            decode(data[:7] + b"\x02" + data[8:])


class TestGoldenFile:
    def test_loads_for_ever_and_goes_on_as_it_did(self) -> None:
        snapshot = decode(GOLDEN.read_bytes())
        subject = pipeline()
        assert subject.restore(snapshot, cluster="golden") == 1000
        undisturbed = pipeline()
        undisturbed.process(batch_of(stream()[:1000]))
        rest = batch_of(stream()[1000:], first_offset=1000)
        assert [event.value for event in subject.process(rest).events] == [
            event.value for event in undisturbed.process(rest).events
        ]


class TestLaterColumns:
    """Columns that the first golden file does not have."""

    def test_a_snapshot_with_them_loads_for_ever_in_the_middle_of_silences(self) -> None:
        snapshot = decode(GOLDEN_TIMERS.read_bytes())
        assert snapshot.header.open_episodes == 2
        assert snapshot.columns["episodes.no_data"].sum() == 1
        subject = silent_pipeline()
        assert subject.restore(snapshot, cluster="golden") == SILENT_AT
        undisturbed = silent_pipeline()
        undisturbed.process(batch_of(silent_stream()[:SILENT_AT]))
        now = decode(encode(*undisturbed.snapshot(offset=SILENT_AT, cluster="golden"))).columns
        assert set(now) - set(snapshot.columns) == {*LATEST, *SCATTER}
        for name, column in snapshot.columns.items():
            assert now[name].tobytes() == column.tobytes(), name
        rest = batch_of(silent_stream()[SILENT_AT:], first_offset=SILENT_AT)
        events = [event.value for event in subject.process(rest).events]
        assert events == [event.value for event in undisturbed.process(rest).events]
        assert sum(b'"end_reason":"silent"' in event for event in events) == 1
        assert sum(b'"end_reason":"resumed"' in event for event in events) == 1

    @pytest.mark.parametrize("column", LATER)
    def test_a_misshapen_one_is_refused(self, column: str) -> None:
        snapshot = decode(GOLDEN_TIMERS.read_bytes())
        for broken in (snapshot.columns[column][:-1], snapshot.columns[column].astype(np.float32)):
            harmed = msgspec.structs.replace(snapshot, columns=snapshot.columns | {column: broken})
            with pytest.raises(SnapshotRefusedError):
                silent_pipeline().restore(harmed, cluster="golden")

    def test_without_them_nothing_is_known_of_pauses(self) -> None:
        snapshot = decode(GOLDEN_TIMERS.read_bytes())
        columns = {name: values for name, values in snapshot.columns.items() if name not in LATER}
        subject = silent_pipeline()
        subject.restore(msgspec.structs.replace(snapshot, columns=columns), cluster="golden")
        assert subject.open_episodes == 1
        rest = batch_of(silent_stream()[SILENT_AT:], first_offset=SILENT_AT)
        ends = [event.value for event in subject.process(rest).events if b'"state":"closed"' in event.value]
        assert [b'"end_reason":"silent"' in event for event in ends] == [True]


class TestLatestColumns:
    """Columns that the first two golden files do not have."""

    def test_a_snapshot_with_them_loads_for_ever_in_the_middle_of_it_all(self) -> None:
        snapshot = decode(GOLDEN_KINDS.read_bytes())
        assert snapshot.header.open_episodes == 2
        assert snapshot.columns["episodes.stuck"].sum() == 1
        assert snapshot.columns["episodes.open"].sum() == 1
        subject, undisturbed = typed_pipeline(), typed_pipeline()
        assert subject.restore(snapshot, cluster="golden") == TYPED_AT
        undisturbed.process(batch_of(typed_stream()[:TYPED_AT]))
        now = decode(encode(*undisturbed.snapshot(offset=TYPED_AT, cluster="golden"))).columns
        assert set(now) - set(snapshot.columns) == set(SCATTER)
        for name, column in snapshot.columns.items():
            assert now[name].tobytes() == column.tobytes(), name
        rest = batch_of(typed_stream()[TYPED_AT:], first_offset=TYPED_AT)
        events = [event.value for event in subject.process(rest).events]
        assert events == [event.value for event in undisturbed.process(rest).events]
        assert sum(b'"kind":"metric.level_shift"' in event for event in events) == 2
        assert sum(b'"kind":"metric.stuck"' in event for event in events) == 1

    @pytest.mark.parametrize("column", LATEST)
    def test_a_misshapen_one_is_refused(self, column: str) -> None:
        snapshot = decode(GOLDEN_KINDS.read_bytes())
        wrong = snapshot.columns[column].astype(np.float32)
        harmed = msgspec.structs.replace(snapshot, columns=snapshot.columns | {column: wrong})
        with pytest.raises(SnapshotRefusedError):
            typed_pipeline().restore(harmed, cluster="golden")

    def test_without_them_an_open_episode_goes_on_and_no_standstill_is_known(self) -> None:
        snapshot = decode(GOLDEN_KINDS.read_bytes())
        columns = {name: values for name, values in snapshot.columns.items() if name not in LATEST}
        subject = typed_pipeline()
        subject.restore(msgspec.structs.replace(snapshot, columns=columns), cluster="golden")
        assert subject.open_episodes == 1


class TestScatterColumns:
    """Columns that the first three golden files do not have."""

    def test_a_snapshot_with_them_loads_for_ever_in_the_middle_of_a_scatter(self) -> None:
        snapshot = decode(GOLDEN_SCATTER.read_bytes())
        assert snapshot.header.open_episodes == snapshot.columns["episodes.variance"].sum() == 1
        subject, undisturbed = pipeline(), pipeline()
        assert subject.restore(snapshot, cluster="golden") == SCATTERED_AT
        undisturbed.process(batch_of(scattered_stream()[:SCATTERED_AT]))
        assert encode(*undisturbed.snapshot(offset=SCATTERED_AT, cluster="golden")) == encode(
            snapshot.header, lambda: snapshot.columns
        )
        rest = batch_of(scattered_stream()[SCATTERED_AT:], first_offset=SCATTERED_AT)
        events = [event.value for event in subject.process(rest).events]
        assert events == [event.value for event in undisturbed.process(rest).events]
        assert [b'"kind":"metric.variance"' in event for event in events] == [True]

    @pytest.mark.parametrize("column", SCATTER)
    def test_a_misshapen_one_is_refused(self, column: str) -> None:
        snapshot = decode(GOLDEN_SCATTER.read_bytes())
        wrong = snapshot.columns[column].astype(np.float32)
        harmed = msgspec.structs.replace(snapshot, columns=snapshot.columns | {column: wrong})
        with pytest.raises(SnapshotRefusedError):
            pipeline().restore(harmed, cluster="golden")

    def test_without_them_what_is_usual_is_learnt_anew(self) -> None:
        snapshot = decode(GOLDEN_SCATTER.read_bytes())
        columns = {name: values for name, values in snapshot.columns.items() if name not in SCATTER}
        subject = pipeline()
        subject.restore(msgspec.structs.replace(snapshot, columns=columns), cluster="golden")
        assert subject.open_episodes == 0
        rest = batch_of(scattered_stream()[SCATTERED_AT:], first_offset=SCATTERED_AT)
        assert all(b"metric.variance" not in event.value for event in subject.process(rest).events)


class TestRefusal:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"config_hash": "x"}, "other settings"),
            ({"cluster": "x"}, "other cluster"),
            ({"topic": "x"}, "other topic"),
            ({"partition": 9}, "other partition"),
        ],
    )
    def test_a_snapshot_of_something_else_is_not_taken(self, change: dict[str, object], reason: str) -> None:
        snapshot = decode(GOLDEN.read_bytes())
        foreign = msgspec.structs.replace(snapshot, header=msgspec.structs.replace(snapshot.header, **change))
        with pytest.raises(SnapshotRefusedError, match=reason):
            pipeline().restore(foreign, cluster="golden")

    @pytest.mark.parametrize("column", sorted(name for name, _, _ in read_header(GOLDEN.read_bytes()).columns))
    def test_a_missing_or_misshapen_column_is_named(self, column: str) -> None:
        snapshot = decode(GOLDEN.read_bytes())
        whole = snapshot.columns[column]
        longer = np.resize(whole, (len(whole) + 1, *whole.shape[1:]))
        for broken in (None, longer, whole.astype(np.float32)):
            columns = {name: values for name, values in snapshot.columns.items() if name != column}
            if broken is not None:
                columns[column] = broken
            with pytest.raises(SnapshotRefusedError):
                pipeline().restore(msgspec.structs.replace(snapshot, columns=columns), cluster="golden")


class TestChunks:
    @settings(derandomize=True, deadline=None)
    @given(st.binary(max_size=100), st.integers(1, 30))
    def test_are_small_enough_and_join_again(self, data: bytes, size: int) -> None:
        chunks = chunks_of(data, size)
        assert chunks
        assert all(len(chunk) <= size for chunk in chunks)
        assert joined(chunks) == data


class TestPointer:
    def test_survives_the_way_through_offset_metadata(self) -> None:
        assert parse_pointer(format_pointer(POINTER)) == POINTER
        assert len(format_pointer(POINTER)) < 300

    @pytest.mark.parametrize("files_until_ms", [None, 0, 1_700_000_000_000])
    def test_a_bootstrap_that_is_under_way_is_told_by_it(self, files_until_ms: int | None) -> None:
        pointer = POINTER.bootstrapping(files_until_ms=files_until_ms)
        assert parse_pointer(format_pointer(pointer)) == pointer
        assert (pointer.untold, pointer.files_until_ms) == (True, files_until_ms)
        assert pointer != POINTER
        assert pointer.told() == POINTER

    def test_without_chunks_it_stands_for_the_empty_state(self) -> None:
        pointer = empty_pointer(99, generation=5, config_hash="h", cluster="c")
        assert parse_pointer(format_pointer(pointer)) == pointer
        assert pointer.is_empty
        assert not POINTER.is_empty

    @pytest.mark.parametrize(
        "metadata",
        [
            None,
            "",
            "detector1:",
            "someone else's",
            "detector1:1;2;3;4;5;6;h",
            "detector1:a;2;3;4;5;6;h;c",
            "detector1:1;2;3;4;5;6;h;c;d",
            "detector1:1;2;3;4;5;6;7;h;c;else",
            "detector1:1;2;3;4;5;6;7;h;c;untold;x",
            "detector1:1;2;3;4;5;6;7;h;c;untold;1;2",
        ],
    )
    def test_what_we_did_not_write_is_no_pointer(self, metadata: str | None) -> None:
        assert parse_pointer(metadata) is None
