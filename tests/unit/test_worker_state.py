"""Models that come back: one sentence per promise of snapshots and restores, on the broker in memory."""

from typing import Any

import pytest

from detector.errors import SourceFailedError, StateLostError
from detector.io import MemoryBroker
from detector.ports import Committed, TopicPartition
from detector.state import empty_pointer, format_pointer, parse_pointer
from detector.worker import StateLimits, WorkerLimits
from tests.workers import (
    GROUP,
    INPUT,
    STATE,
    TOPICS,
    Bench,
    CountingPipeline,
    ManualClock,
    broker_with,
    delivered,
    write,
)

PLACE = TopicPartition(INPUT, 0)
GOOD = [b"good"] * 20
OFTEN = StateLimits(interval_s=0.5)
NEVER = StateLimits(interval_s=1e9)
STRICT = StateLimits(interval_s=0.5, on_state_loss="fail")


def begun(broker: MemoryBroker, state: StateLimits = OFTEN, **more: Any) -> Bench:
    bench = Bench(broker, state=state, limits=WorkerLimits(batch_records_max=20), clock=ManualClock(0.001), **more)
    bench.worker.begin()
    return bench


def killed(bench: Bench) -> None:
    """The group notices; the worker never does."""
    bench.source.expire()


def committed(broker: MemoryBroker) -> Committed:
    return broker.group(GROUP).committed[PLACE]


def seen(bench: Bench) -> int:
    """Records that the partition's models have learnt from."""
    pipeline = bench.worker._assignments.at(PLACE).pipeline
    assert isinstance(pipeline, CountingPipeline)
    return pipeline._seen


class TestFirstStart:
    def test_the_first_commit_says_that_the_state_before_was_empty(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker, NEVER)
        bench.turn(4, advance_s=0.6)
        pointer = empty_pointer(0, generation=0, config_hash="every-1", cluster="memory")
        assert committed(broker) == Committed(20, format_pointer(pointer))

    def test_a_crash_before_the_first_snapshot_replays_from_the_beginning_without_a_word(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        first = begun(broker, NEVER)
        first.turn(4, advance_s=0.6)
        killed(first)
        write(broker, GOOD)
        second = begun(broker, NEVER)
        second.turn(6, advance_s=0.6)
        assert seen(second) == 40
        assert len(delivered(broker)) == 40
        assert ("restored", PLACE, 0, 20) in second.observer.facts
        assert ("replayed", PLACE, 20) in second.observer.facts

    def test_without_keeping_nothing_stands_beside_the_offset(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = Bench(broker)
        bench.worker.begin()
        bench.turn(3, advance_s=0.6)
        assert committed(broker) == Committed(20)
        assert broker.records(TopicPartition(STATE, 0)) == []


class TestSnapshots:
    def test_a_pointer_goes_with_the_commit_after_its_snapshot(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(8, advance_s=0.3)
        pointer = parse_pointer(committed(broker).metadata)
        assert pointer is not None
        assert (pointer.offset, pointer.generation, pointer.chunk_count) == (20, 1, 1)
        assert "snapshot_written" in bench.observer.names()

    def test_an_idle_partition_is_not_written_again(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(50, advance_s=0.6)
        assert bench.observer.names().count("snapshot_written") == 1

    def test_no_snapshot_begins_before_the_pointer_to_the_last_one_is_committed(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.run_until(lambda: "snapshot_written" in bench.observer.names())
        written = len(broker.records(TopicPartition(STATE, 0)))
        bench.sink.acknowledged_max = 0
        for _ in range(20):
            write(broker, GOOD[:1])
            bench.turn(advance_s=0.6)
        assert len(broker.records(TopicPartition(STATE, 0))) == written
        bench.sink.acknowledged_max = None
        bench.turn(6, advance_s=0.6)
        assert len(broker.records(TopicPartition(STATE, 0))) > written

    def test_a_snapshot_that_fails_leaves_the_one_before_in_force(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.run_until(lambda: parse_pointer(committed(broker).metadata) is not None if bench.committed() else False)
        bench.turn(5, advance_s=0.6)
        before = committed(broker).metadata
        bench.sink.fail_next(STATE)
        write(broker, GOOD)
        bench.run_until(lambda: "snapshot_failed" in bench.observer.names(), advance_s=0.2)
        assert committed(broker).metadata == before
        killed(bench)
        second = begun(broker, STRICT)
        second.turn(4, advance_s=0.1)
        assert seen(second) == 40

    def test_a_stop_leaves_a_snapshot_of_everything_processed(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        first = begun(broker, NEVER)
        first.turn(3)
        first.worker.finish()
        second = begun(broker, NEVER)
        second.turn(4)
        assert ("restored", PLACE, 20, 20) in second.observer.facts
        assert "replayed" not in second.observer.names()
        assert seen(second) == 20

    @pytest.mark.parametrize("how", ["stop", "revocation"])
    def test_leaving_in_the_middle_of_a_snapshot_is_followed_by_one_of_the_very_end(self, how: str) -> None:
        broker = broker_with()
        write(broker, GOOD)
        first = begun(broker, OFTEN)
        first.writing.at_once = first.writing.patient = False
        first.run_until(lambda: len(first.writing.jobs) == 1)
        write(broker, GOOD)
        first.turn(2)
        assert seen(first) == 40
        first.writing.patient = True
        if how == "stop":
            first.worker.finish()
        else:
            first.source.close()
        second = begun(broker, NEVER)
        second.turn(4)
        assert ("restored", PLACE, 40, 40) in second.observer.facts

    def test_a_stop_without_time_for_a_snapshot_loses_nothing(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        first = begun(broker, NEVER, at_once=False)
        first.turn(2)
        first.reading.run_one()
        first.turn(3, advance_s=0.6)
        first.writing.patient = False
        first.worker.finish()
        second = begun(broker, NEVER)
        second.turn(4)
        assert ("restored", PLACE, 0, 20) in second.observer.facts
        assert seen(second) == 20


class TestRestore:
    def test_a_partition_is_silent_and_the_worker_not_ready_until_its_models_are_back(self) -> None:
        broker = broker_with(partitions=2)
        write(broker, GOOD)
        write(broker, GOOD, partition=1)
        bench = begun(broker, at_once=False)
        bench.turn(3)
        assert delivered(broker) == []
        assert (bench.worker.ready, bench.worker.restoring_count) == (False, 2)
        bench.reading.run_one()
        bench.turn(3)
        assert len(delivered(broker)) == 20, "the other flows meanwhile"
        assert (bench.worker.ready, bench.worker.restoring_count) == (False, 1)
        bench.reading.run_one()
        bench.turn(3)
        assert len(delivered(broker)) == 40
        assert bench.worker.ready

    def test_a_batch_across_the_committed_offset_is_split_there(self) -> None:
        broker = broker_with()
        write(broker, GOOD[:13])
        first = begun(broker, NEVER)
        first.turn(4, advance_s=0.6)
        killed(first)
        write(broker, [*GOOD[:6], b"bad"])
        second = begun(broker, NEVER)
        second.turn(4)
        assert ("replayed", PLACE, 13) in second.observer.facts
        assert [report.output.counts.records for report in second.observer.reports] == [7]
        assert delivered(broker) == [b"0/%d" % offset for offset in range(19)]
        (letter,) = broker.records(TopicPartition(TOPICS.dead_letters, 0))
        assert letter.value == b"bad"
        assert dict(letter.headers)["detector-offset"] == b"19"

    def test_a_partition_taken_away_while_it_is_restored_commits_nothing(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        first = begun(broker)
        first.turn(8, advance_s=0.3)
        before = committed(broker)
        killed(first)
        second = begun(broker, at_once=False)
        second.turn(2)
        second.worker.finish()
        assert committed(broker) == before

    def test_a_stop_in_the_middle_of_a_replay_commits_nothing(self) -> None:
        broker = broker_with()
        write(broker, GOOD * 3)
        first = begun(broker, NEVER)
        first.turn(8, advance_s=0.6)
        before = committed(broker)
        assert before.offset == 60
        killed(first)
        second = begun(broker, OFTEN)
        second.run_until(lambda: "replayed" in second.observer.names(), advance_s=0)
        second.worker.finish()
        assert committed(broker) == before

    def test_brokers_without_an_answer_are_asked_again(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker, STRICT, at_once=False)
        bench.turn(2)
        broker.available = False
        bench.reading.run_one()
        bench.turn(2)
        assert "restore_postponed" in bench.observer.names()
        broker.available = True
        for _ in range(4):
            bench.turn(advance_s=1.1)
            bench.reading.run_one()
        bench.turn(2)
        assert bench.worker.ready
        assert len(delivered(broker)) == 20

    def test_a_missing_state_topic_stops_the_worker(self) -> None:
        broker = MemoryBroker()
        broker.create_topic(INPUT, partitions=1)
        bench = begun(broker)
        with pytest.raises(SourceFailedError, match="state topic"):
            bench.turn(3)


class TestLoss:
    def snapshotted(self) -> MemoryBroker:
        """A stopped worker's broker: 40 records committed, with snapshots at 20 and 40."""
        broker = broker_with()
        for _ in range(2):
            write(broker, GOOD)
            bench = begun(broker, NEVER)
            bench.turn(3, advance_s=0.6)
            bench.worker.finish()
        return broker

    def recommit(self, broker: MemoryBroker, offset: int, metadata: str = "") -> None:
        broker.group(GROUP).committed[PLACE] = Committed(offset, metadata)

    def test_without_a_pointer_the_newest_snapshot_that_is_not_ahead_is_used(self) -> None:
        broker = self.snapshotted()
        self.recommit(broker, 33)
        bench = begun(broker, STRICT)
        bench.turn(5)
        assert ("restored", PLACE, 20, 33) in bench.observer.facts
        assert seen(bench) == 40

    def test_a_pointer_of_another_cluster_is_not_followed(self) -> None:
        broker = self.snapshotted()
        pointer = empty_pointer(0, generation=0, config_hash="every-1", cluster="elsewhere")
        self.recommit(broker, 40, format_pointer(pointer))
        bench = begun(broker, STRICT)
        bench.turn(5)
        assert ("restored", PLACE, 40, 40) in bench.observer.facts

    def test_a_pointer_past_the_committed_offset_is_not_followed(self) -> None:
        broker = self.snapshotted()
        self.recommit(broker, 25, committed(broker).metadata)
        bench = begun(broker, STRICT)
        bench.turn(5)
        assert ("restored", PLACE, 20, 25) in bench.observer.facts

    def test_a_flipped_bit_is_found_out_and_the_snapshot_before_is_used(self) -> None:
        broker = self.snapshotted()
        entries = broker.log(TopicPartition(STATE, 0))._entries
        last = entries[-1]
        assert last is not None
        value = last.value
        assert value is not None
        entries[-1] = last._replace(value=value[:40] + bytes((value[40] ^ 1,)) + value[41:])
        bench = begun(broker, STRICT)
        bench.turn(5)
        assert ("restored", PLACE, 20, 40) in bench.observer.facts
        assert seen(bench) == 40

    def test_other_settings_begin_anew_and_say_so(self) -> None:
        broker = self.snapshotted()
        write(broker, GOOD)
        bench = begun(broker, NEVER, pipeline_factory=lambda place: CountingPipeline(place, every=2))
        bench.turn(6, advance_s=0.6)
        assert "state_lost" in bench.observer.names()
        assert seen(bench) == 20
        pointer = empty_pointer(40, generation=0, config_hash="every-2", cluster="memory")
        assert committed(broker) == Committed(60, format_pointer(pointer))

    def test_the_strict_setting_stops_instead_and_names_itself(self) -> None:
        broker = self.snapshotted()
        broker.create_topic("emptied", partitions=1)
        broker.log(TopicPartition(STATE, 0))._entries.clear()
        bench = begun(broker, STRICT)
        with pytest.raises(StateLostError, match=r"on_state_loss.*cold_start"):
            bench.turn(3)
        assert "state_lost" in bench.observer.names()

    def test_an_input_that_no_longer_holds_the_records_since_the_snapshot_is_a_loss(self) -> None:
        broker = self.snapshotted()
        self.recommit(broker, 33)
        broker.expire_records(PLACE, 30)
        bench = begun(broker, NEVER)
        bench.turn(5)
        assert "state_lost" in bench.observer.names()
        assert seen(bench) == 7

    def test_retention_up_to_the_commit_keeps_a_snapshot_that_needs_no_replay(self) -> None:
        broker = self.snapshotted()
        write(broker, GOOD)
        broker.expire_records(PLACE, 40)
        bench = begun(broker, STRICT)
        bench.turn(5)
        assert ("restored", PLACE, 40, 40) in bench.observer.facts
        assert seen(bench) == 60

    def test_retention_past_the_commit_is_a_loss_that_names_the_offsets_and_the_remedy(self) -> None:
        broker = self.snapshotted()
        write(broker, GOOD)
        broker.expire_records(PLACE, 50)
        with pytest.raises(
            StateLostError, match=r"offset 50, past 40: 10 records.*detector state reset input:0 "
        ) as caught:
            begun(broker, STRICT).turn(5)
        assert "\n" not in str(caught.value)
        assert committed(broker).offset == 40

    def test_retention_past_the_commit_goes_on_where_records_are_and_counts_what_is_gone(self) -> None:
        broker = self.snapshotted()
        write(broker, GOOD)
        broker.expire_records(PLACE, 50)
        bench = begun(broker, NEVER)
        bench.turn(6, advance_s=0.6)
        (loss,) = [fact for fact in bench.observer.facts if fact[0] == "state_lost"]
        assert loss[3] == 10
        assert seen(bench) == 10
        pointer = empty_pointer(50, generation=0, config_hash="every-1", cluster="memory")
        assert committed(broker) == Committed(60, format_pointer(pointer))

    def test_a_commit_past_the_end_is_a_loss_that_begins_where_the_input_does(self) -> None:
        broker = self.snapshotted()
        broker.recreate_topic(INPUT)
        write(broker, GOOD[:5])
        strict = begun(broker, STRICT)
        with pytest.raises(StateLostError, match=r"offsets 0 to 5 do not go on at 40.*created anew"):
            strict.turn(5)
        killed(strict)
        bench = begun(broker, NEVER)
        bench.turn(6, advance_s=0.6)
        assert seen(bench) == 5
        assert committed(broker).offset == 5

    def test_offsets_that_have_expired_are_no_first_start(self) -> None:
        broker = self.snapshotted()
        del broker.group(GROUP).committed[PLACE]
        strict = begun(broker, STRICT)
        with pytest.raises(StateLostError, match=r"nothing is committed, but 2 snapshots are kept.*have expired"):
            strict.turn(5)
        killed(strict)
        bench = begun(broker, NEVER)
        bench.turn(6, advance_s=0.6)
        assert [fact[0] for fact in bench.observer.facts if fact[0] == "state_lost"] == ["state_lost"]
        assert seen(bench) == 40
        assert committed(broker).offset == 40
