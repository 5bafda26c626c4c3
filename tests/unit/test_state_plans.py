"""What the ``state`` commands decide: outlooks, resets and imports, on the broker in memory with the real worker."""

import msgspec
import pytest

from detector.errors import DetectorError, SnapshotRefusedError
from detector.io import MemoryBroker, MemorySink, MemorySnapshotStore
from detector.ports import Committed, OffsetRange, TopicPartition
from detector.state import Archive, empty_pointer, format_pointer, pack, parse_pointer, unpack
from detector.worker import StateLimits, WorkerLimits
from detector.worker.archives import import_fault, moved, next_generation, stored, write
from detector.worker.outlook import Judging, outlook, plan_reset
from tests.workers import GROUP, INPUT, STATE, Bench, ManualClock, broker_with
from tests.workers import write as write_records

PLACE = TopicPartition(INPUT, 0)
OTHER = TopicPartition("another", 0)
JUDGING = Judging(lambda _: "every-1", river_objects=False)
OTHERS = Judging(lambda _: "every-2", river_objects=False)
KEPT = OffsetRange(0, 60)


def world(rounds: int = 3) -> tuple[MemoryBroker, MemorySnapshotStore]:
    """A group that has read ``rounds`` times 20 records, with a snapshot after each."""
    broker = broker_with()
    for _ in range(rounds):
        write_records(broker, [b"good"] * 20)
        bench = Bench(broker, state=StateLimits(interval_s=1e9), limits=WorkerLimits(), clock=ManualClock(0.001))
        bench.worker.begin()
        bench.turn(6)
        bench.worker.finish()
    return broker, MemorySnapshotStore(broker, topic=STATE, group_id=GROUP)


def committed(broker: MemoryBroker) -> Committed:
    return broker.group(GROUP).committed[PLACE]


class TestOutlook:
    def test_the_pointers_snapshot_is_restored(self) -> None:
        broker, store = world()
        ahead = outlook(store, PLACE, committed(broker), KEPT, JUDGING)
        assert (ahead.kind, ahead.offset, ahead.replay, ahead.reason) == ("restore", 60, 0, "")

    def test_an_offset_moved_by_hand_finds_the_newest_before_it(self) -> None:
        _, store = world()
        ahead = outlook(store, PLACE, Committed(47), KEPT, JUDGING)
        assert (ahead.kind, ahead.offset, ahead.replay) == ("found", 40, 7)
        assert ahead.reason == "no pointer beside the committed offset"

    def test_a_harmed_snapshot_is_passed_over_for_the_one_before(self) -> None:
        broker, store = world()
        pointer = parse_pointer(committed(broker).metadata)
        assert pointer is not None
        forged = format_pointer(msgspec.structs.replace(pointer, crc=pointer.crc ^ 1))
        ahead = outlook(store, PLACE, Committed(60, forged), KEPT, JUDGING)
        assert (ahead.kind, ahead.reason) == ("found", "the pointer's snapshot cannot be used")

    def test_other_settings_lose_it(self) -> None:
        broker, store = world()
        ahead = outlook(store, PLACE, committed(broker), KEPT, OTHERS)
        assert (ahead.kind, ahead.offset, ahead.pointer) == ("lost", 60, None)
        assert "other settings" in ahead.reason

    def test_retention_past_the_snapshot_loses_it(self) -> None:
        broker, store = world()
        behind = Committed(60, committed(broker).metadata)
        assert outlook(store, PLACE, behind, OffsetRange(60, 60), JUDGING).kind == "restore", "nothing is replayed"
        assert outlook(store, PLACE, behind, OffsetRange(70, 80), JUDGING).kind == "lost", "records are gone unread"
        found = outlook(store, PLACE, Committed(47), OffsetRange(45, 60), JUDGING)
        assert (found.kind, found.reason) == ("lost", "the input begins at offset 45, past 40, from which to replay")

    def test_a_bootstrap_that_was_cut_short_goes_on_with_what_is_kept(self) -> None:
        _, store = world()
        pointer = empty_pointer(10, generation=0, config_hash="every-1", cluster="memory").bootstrapping()
        ahead = outlook(store, PLACE, Committed(50, format_pointer(pointer)), OffsetRange(30, 60), JUDGING)
        assert (ahead.kind, ahead.offset, ahead.replay) == ("empty", 30, 20)
        assert ahead.pointer is not None
        assert ahead.pointer.untold
        archive = Archive(GROUP, *PLACE, 50, pointer, b"")
        assert unpack(pack(archive)) == archive

    def test_nothing_committed_and_the_empty_state(self) -> None:
        _, store = world()
        assert outlook(store, OTHER, Committed(-1), KEPT, JUDGING).kind == "first"
        expired = outlook(store, PLACE, Committed(-1), KEPT, JUDGING)
        assert (expired.kind, expired.offset) == ("lost", -1)
        assert "expired" in expired.reason
        pointer = empty_pointer(5, generation=0, config_hash="whatever", cluster="memory")
        ahead = outlook(store, PLACE, Committed(9, format_pointer(pointer)), KEPT, JUDGING)
        assert (ahead.kind, ahead.offset, ahead.replay) == ("empty", 5, 4)


class TestReset:
    @pytest.mark.parametrize(("target", "start"), [(60, 60), (59, 40), (40, 40), (21, 20), (20, 20)])
    def test_the_newest_state_up_to_the_target_stays_in_use(self, target: int, start: int) -> None:
        broker, store = world()
        plan = plan_reset(store, PLACE, committed(broker), target, KEPT, JUDGING, forget=False)
        assert plan.refusal is None
        assert plan.pointer is not None
        assert (plan.pointer.offset, plan.replay) == (start, target - start)
        assert plan.wanted == Committed(target, format_pointer(plan.pointer))
        assert outlook(store, PLACE, plan.wanted, KEPT, JUDGING).kind == "restore", "and a restore sees it so"

    def test_without_one_the_models_would_be_lost(self) -> None:
        broker, store = world()
        plan = plan_reset(store, PLACE, committed(broker), 19, KEPT, JUDGING, forget=False)
        assert plan.pointer is None
        assert plan.refusal is not None
        assert "--forget" in plan.refusal

    def test_forgetting_begins_empty_and_keeps_the_order_of_generations(self) -> None:
        broker, store = world()
        before = parse_pointer(committed(broker).metadata)
        plan = plan_reset(store, PLACE, committed(broker), 19, KEPT, JUDGING, forget=True)
        assert before is not None
        assert plan.pointer == empty_pointer(19, generation=before.generation, config_hash="every-1", cluster="memory")
        assert outlook(store, PLACE, plan.wanted, KEPT, JUDGING).kind == "empty"

    @pytest.mark.parametrize("target", [9, 61])
    def test_offsets_that_the_input_does_not_hold_are_refused(self, target: int) -> None:
        broker, store = world()
        for forget in (False, True):
            plan = plan_reset(store, PLACE, committed(broker), target, OffsetRange(10, 60), JUDGING, forget=forget)
            assert plan.refusal == f"offset {target} is not within 10 to 60"

    def test_a_worker_goes_on_from_there(self) -> None:
        broker, store = world()
        plan = plan_reset(store, PLACE, committed(broker), 47, KEPT, JUDGING, forget=False)
        broker.group(GROUP).committed[PLACE] = plan.wanted
        bench = Bench(broker, state=StateLimits(interval_s=1e9, on_state_loss="fail"), clock=ManualClock(0.001))
        bench.worker.begin()
        bench.turn(6)
        assert ("restored", PLACE, 40, 47) in bench.observer.facts


def archive_of(broker: MemoryBroker, store: MemorySnapshotStore) -> Archive:
    pointer, data = stored(store, PLACE, committed(broker))
    return Archive(GROUP, *PLACE, committed(broker).offset, pointer, data)


class TestArchive:
    def test_comes_back_from_its_bytes(self) -> None:
        archive = archive_of(*world())
        assert unpack(pack(archive)) == archive
        snapshot = archive.snapshot()
        assert snapshot is not None
        assert snapshot.header.offset == 60

    def test_any_byte_changed_or_missing_is_found_out(self) -> None:
        data = pack(archive_of(*world()))
        for position in range(len(data)):
            changed = bytearray(data)
            changed[position] ^= 0x10
            with pytest.raises(SnapshotRefusedError):
                unpack(bytes(changed)).snapshot()
            with pytest.raises(SnapshotRefusedError):
                unpack(data[:position]).snapshot()

    def test_a_pointer_and_a_snapshot_that_do_not_belong_together_are_refused(self) -> None:
        archive = archive_of(*world())
        pointer = archive.pointer
        for wrong in (
            msgspec.structs.replace(archive, data=b""),
            msgspec.structs.replace(archive, partition=1),
            msgspec.structs.replace(archive, pointer=msgspec.structs.replace(pointer, offset=59)),
            msgspec.structs.replace(archive, pointer=msgspec.structs.replace(pointer, chunk_count=0)),
        ):
            with pytest.raises(SnapshotRefusedError):
                unpack(pack(wrong)).snapshot()

    def test_a_pointer_past_its_offset_is_refused(self) -> None:
        with pytest.raises(SnapshotRefusedError, match="committed offset"):
            unpack(pack(msgspec.structs.replace(archive_of(*world()), committed=59)))

    def test_the_empty_state_has_no_snapshot(self) -> None:
        pointer = empty_pointer(3, generation=0, config_hash="h", cluster="c")
        archive = Archive(GROUP, *PLACE, 5, pointer, b"")
        assert unpack(pack(archive)).snapshot() is None

    def test_what_is_stored_is_found_without_a_pointer(self) -> None:
        broker, store = world()
        assert stored(store, PLACE, Committed(47))[0].offset == 40
        with pytest.raises(DetectorError, match="no pointer"):
            stored(store, PLACE, Committed(19))
        with pytest.raises(DetectorError, match="committed nothing"):
            stored(store, PLACE, Committed(-1))
        assert committed(broker).offset == 60


class TestImport:
    def fault(self, archive: Archive, *, current: int = 60, kept: OffsetRange = KEPT, force: bool = False) -> str:
        found = import_fault(archive, Committed(current), kept, "memory", JUDGING, force=force)
        return found or "fine"

    def test_what_fits_may_come(self) -> None:
        archive = archive_of(*world())
        assert self.fault(archive) == self.fault(archive, current=-1) == "fine"

    def test_what_does_not_is_refused_with_the_reason(self) -> None:
        archive = archive_of(*world())
        assert "--cluster-changed" in self.fault(moved(archive, "elsewhere"))
        assert self.fault(moved(moved(archive, "elsewhere"), "memory")) == "fine"
        assert "the input ends at 50" in self.fault(archive, kept=OffsetRange(0, 50))
        assert "score again 20 records" in self.fault(archive, current=80, kept=OffsetRange(0, 80))
        assert "leave out 20 records" in self.fault(archive, current=40)
        assert self.fault(archive, current=40, force=True) == "fine"
        assert import_fault(archive, Committed(60), KEPT, "memory", OTHERS, force=True) is not None
        later = msgspec.structs.replace(archive, committed=70)
        assert "past 60, from which to replay" in self.fault(later, current=-1, kept=OffsetRange(65, 80), force=True)

    def test_moving_rewrites_the_header_and_nothing_else(self) -> None:
        archive = archive_of(*world())
        there = moved(archive, "elsewhere")
        snapshot, before = there.snapshot(), archive.snapshot()
        assert snapshot is not None
        assert before is not None
        assert snapshot.header == msgspec.structs.replace(before.header, cluster="elsewhere")
        assert {name: column.tobytes() for name, column in snapshot.columns.items()} == {
            name: column.tobytes() for name, column in before.columns.items()
        }
        assert moved(there, "memory") == archive

    def test_it_is_written_under_the_other_parity_and_a_worker_restores_it(self) -> None:
        broker, store = world()
        archive = archive_of(broker, store)
        current = committed(broker)
        in_use = parse_pointer(current.metadata)
        generation = next_generation(store, PLACE, current)
        assert in_use is not None
        assert generation == in_use.generation + 1
        pointer = write(store, MemorySink(broker), PLACE, archive, generation)
        assert store.read(PLACE, in_use) == store.read(PLACE, pointer) == archive.data
        broker.group(GROUP).committed[PLACE] = Committed(60, format_pointer(pointer))
        bench = Bench(broker, state=StateLimits(interval_s=1e9, on_state_loss="fail"), clock=ManualClock(0.001))
        bench.worker.begin()
        bench.turn(4)
        assert ("restored", PLACE, 60, 60) in bench.observer.facts

    def test_without_a_pointer_the_newest_snapshot_is_not_harmed(self) -> None:
        _, store = world()
        newest = store.scan(PLACE)[0]
        assert next_generation(store, PLACE, Committed(60)) == newest.generation + 1
        assert next_generation(store, OTHER, Committed(-1)) == 1
