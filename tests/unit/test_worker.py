"""The worker on the broker in memory: one sentence per promise of the loop."""

from collections.abc import Mapping

import pytest

from detector.batches import Output, RecordBatch
from detector.errors import DeliveryFailedError, RejectRatioError, SourceFailedError
from detector.io import MemoryBroker, StoredRecord
from detector.ports import TopicPartition
from detector.worker import WorkerLimits
from tests.workers import GROUP, INPUT, TOPICS, Bench, CountingPipeline, ManualClock, broker_with, delivered, write

PLACE = TopicPartition(INPUT, 0)
GOOD = [b"good"] * 20


def begun(
    broker: MemoryBroker,
    *,
    limits: WorkerLimits | None = None,
    acknowledged_max: int | None = None,
    tick_s: float = 0.0,
) -> Bench:
    bench = Bench(broker, limits=limits, acknowledged_max=acknowledged_max, clock=ManualClock(tick_s))
    bench.worker.begin()
    return bench


class TestOrderOfDelivery:
    def test_offsets_are_committed_once_their_events_are_delivered(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(2, advance_s=1.0)
        assert len(delivered(broker)) == 20
        assert bench.committed() == 20

    def test_nothing_is_committed_while_a_message_is_pending(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker, acknowledged_max=1)
        bench.sink.acknowledged_max = 0
        bench.turn(1)
        bench.turn(1, advance_s=0.6)
        assert bench.sink.pending() == 20
        assert bench.committed() is None

    def test_an_overdue_commit_waits_for_the_deliveries(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker, acknowledged_max=0)
        bench.turn(1)
        bench.sink.acknowledged_max = 3
        bench.turn(1, advance_s=1.1)
        assert bench.committed() == 20

    def test_a_commit_comes_once_per_interval(self) -> None:
        broker = broker_with()
        bench = begun(broker, limits=WorkerLimits(commit_interval_s=2.0))
        for _ in range(10):
            write(broker, GOOD)
            bench.turn(advance_s=1.0)
        assert bench.observer.names().count("committed") == 5

    def test_unchanged_offsets_are_not_committed_again(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(10, advance_s=1.0)
        assert bench.observer.names().count("committed") == 1

    def test_a_failed_delivery_stops_before_any_commit(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.sink.fail_next()
        with pytest.raises(DeliveryFailedError):
            bench.turn(10, advance_s=1.0)
        assert bench.committed() is None

    def test_a_commit_without_an_answer_is_made_up_for(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker, limits=WorkerLimits(commit_interval_s=5.0))
        bench.turn()
        broker.available = False
        bench.turn(advance_s=5.0)
        assert bench.observer.names() == ["assigned", "commit_postponed"]
        broker.available = True
        bench.turn(advance_s=5.0)
        assert bench.committed() == 20


class TestStopping:
    def test_a_stop_delivers_commits_and_leaves_the_group(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = Bench(broker, on_output=lambda *_seen: bench.worker.stop())
        bench.worker.run()
        assert len(delivered(broker)) == 20
        assert bench.committed() == 20
        assert broker.group(GROUP).owners == {}
        assert bench.observer.facts[-1] == ("stopped", "requested")

    def test_a_stop_that_cannot_deliver_commits_nothing(self) -> None:
        broker = broker_with()
        write(broker, GOOD)

        def outage(*_seen: object) -> None:
            bench.sink.acknowledged_max = 0
            broker.available = False
            bench.worker.stop()

        bench = Bench(broker, on_output=outage)
        with pytest.raises(DeliveryFailedError, match="20 messages"):
            bench.worker.run()
        assert bench.committed() is None
        assert broker.group(GROUP).owners == {}

    def test_a_mistake_in_the_pipeline_stops_loudly_and_skips_nothing(self) -> None:
        broker = broker_with()
        write(broker, [*GOOD, b"boom"])
        bench = Bench(broker, limits=WorkerLimits(batch_records_max=20))
        with pytest.raises(ZeroDivisionError):
            bench.worker.run()
        assert bench.committed() is None
        assert broker.group(GROUP).owners == {}
        assert bench.observer.facts[-1] == ("stopped", "ZeroDivisionError: 20")

    def test_an_unknown_topic_stops_at_once(self) -> None:
        bench = Bench(broker_with(), topic="other")
        with pytest.raises(SourceFailedError, match="other"):
            bench.worker.run()


class TestRebalance:
    def test_revoked_partitions_are_delivered_and_committed_before_another_reads_them(self) -> None:
        broker = broker_with(partitions=2)
        for partition in range(2):
            write(broker, GOOD, partition)
        first = begun(broker)
        first.turn()
        second = begun(broker)
        second.turn()
        assert second.observer.facts == [("assigned",)]
        first.turn()
        assert broker.committed(GROUP) == dict.fromkeys(broker.partitions(INPUT), 20), "whatever is delivered"
        second.turn()
        assert second.observer.facts[1:] == [("assigned", TopicPartition(INPUT, 1))]
        assert second.observer.reports == []

    def test_a_partition_that_comes_back_begins_with_a_new_pipeline(self) -> None:
        broker = broker_with()
        built: list[TopicPartition] = []

        def build(place: TopicPartition) -> CountingPipeline:
            built.append(place)
            return CountingPipeline(place)

        bench = Bench(broker, pipeline_factory=build)
        bench.worker.begin()
        bench.turn()
        bench.source.expire()
        bench.turn(2)
        assert built == [PLACE, PLACE]
        assert bench.observer.names() == ["assigned", "lost", "assigned"]

    def test_lost_partitions_are_dropped_without_a_commit_and_read_again(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn()
        bench.source.expire()
        bench.turn()
        assert bench.committed() is None
        bench.turn(2, advance_s=1.0)
        assert delivered(broker) == [b"0/%d" % offset for offset in [*range(20), *range(20)]]
        assert bench.committed() == 20

    def test_a_hand_over_that_cannot_deliver_in_time_commits_nothing(self) -> None:
        broker = broker_with(partitions=2)
        write(broker, GOOD, partition=1)
        bench = begun(broker, acknowledged_max=0, tick_s=0.1)
        bench.turn()
        begun(broker).turn()
        bench.turn()
        assert ("revoked", TopicPartition(INPUT, 1)) in bench.observer.facts
        assert broker.committed(GROUP) == {}


class TestBackPressure:
    LIMITS = WorkerLimits(pending_messages_max=10, hold_after_s=3.0, commit_interval_s=100.0)

    def test_reading_waits_while_too_much_is_pending(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker, limits=self.LIMITS, acknowledged_max=0)
        bench.turn()
        write(broker, GOOD)
        bench.turn(3, advance_s=0.5)
        assert len(bench.observer.reports) == 1
        bench.sink.acknowledged_max = 5
        bench.turn(2)
        assert len(bench.observer.reports) == 2

    def test_a_long_wait_holds_the_source_and_stays_in_the_group(self) -> None:
        broker = broker_with(partitions=2)
        write(broker, GOOD, partition=0)
        bench = begun(broker, limits=self.LIMITS, acknowledged_max=0, tick_s=0.01)
        bench.turn()
        bench.turn(6, advance_s=1.0)
        assert bench.observer.names() == ["assigned", "held"]
        second = begun(broker)
        write(broker, GOOD)
        bench.sink.acknowledged_max = 0
        bench.turn()
        assert bench.observer.names() == ["assigned", "held", "revoked"]
        bench.sink.acknowledged_max = None
        bench.turn(3)
        assert bench.observer.names()[3:] == ["released"]
        assert len(bench.observer.reports) == 2
        second.turn()
        assert second.observer.names() == ["assigned"]


class TestDeadLetters:
    def test_rejects_are_sent_on_with_their_bytes_and_committed(self) -> None:
        broker = broker_with()
        write(broker, [b"good", b"bad \xff", b"good", None])
        bench = begun(broker)
        bench.turn(2, advance_s=1.0)
        assert delivered(broker, TOPICS.dead_letters) == [b"bad \xff", None]
        letter = broker.records(TopicPartition(TOPICS.dead_letters, 0))[0]
        assert letter.key == b"key"
        assert letter.headers[0] == ("from", b"test")
        assert dict(letter.headers)["detector-offset"] == b"1"
        assert bench.committed() == 4

    def test_too_many_rejects_stop_before_the_batch_s_dead_letters(self) -> None:
        broker = broker_with()
        write(broker, [*GOOD, *[b"bad"] * 40])
        limits = WorkerLimits(batch_records_max=20, rejects_window_records=40)
        bench = Bench(broker, limits=limits)
        with pytest.raises(RejectRatioError, match="40 of the last 40 records"):
            bench.worker.run()
        assert len(delivered(broker, TOPICS.dead_letters)) == 20
        assert bench.committed() is None


class TestTelling:
    def test_every_batch_is_reported_with_its_times(self) -> None:
        broker = broker_with()
        for timestamp_ms in (-1, 5_000, 3_000):
            broker.append(PLACE, StoredRecord(None, b"good", (), timestamp_ms))
        bench = begun(broker)
        bench.turn()
        (report,) = bench.observer.reports
        assert (report.oldest_timestamp_ms, report.newest_timestamp_ms) == (3_000, 5_000)
        assert report.processed_ms == bench.clock.wall_ms()
        assert report.partition == PLACE
        assert report.output.counts.records == 3

    def test_a_batch_without_timestamps_says_so(self) -> None:
        broker = broker_with()
        broker.append(PLACE, StoredRecord(None, b"good"))
        bench = begun(broker)
        bench.turn()
        assert bench.observer.reports[0].oldest_timestamp_ms == -1

    def test_lags_are_told_once_per_interval(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker, limits=WorkerLimits(batch_records_max=5))
        bench.turn(advance_s=1.0)
        assert bench.observer.lags == {PLACE: 15}

    def test_the_listener_sees_each_batch_with_its_output(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        seen: dict[TopicPartition, int] = {}

        def listen(place: TopicPartition, batch: RecordBatch, output: Output) -> None:
            assert len(batch) == output.counts.records
            seen[place] = output.next_offset

        bench = Bench(broker, on_output=listen)
        bench.worker.begin()
        bench.turn()
        expected: Mapping[TopicPartition, int] = {PLACE: 20}
        assert seen == expected

    def test_alive_is_the_age_of_the_last_turn_and_ready_means_assigned(self) -> None:
        bench = begun(broker_with())
        assert not bench.worker.ready
        bench.turn()
        assert bench.worker.ready
        bench.clock.now_s += 7
        assert bench.worker.alive_age_s() == 7
        bench.turn()
        assert bench.worker.alive_age_s() == 0

    def test_a_worker_without_partitions_is_ready_too(self) -> None:
        broker = broker_with()
        begun(broker).turn()
        second = begun(broker)
        second.turn()
        assert second.observer.facts == [("assigned",)]
        assert second.worker.ready
