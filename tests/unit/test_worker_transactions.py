"""The worker with transactions, on the broker in memory: one sentence per promise of exactly-once delivery."""

from collections.abc import Callable
from typing import Any

import pytest

from detector.errors import DeliveryFailedError, OutcomeUnknownError, StopWorkerError
from detector.io import MemoryBroker
from detector.io.memory import Reached
from detector.io.memory_transactions import BEFORE_OFFSETS, BEFORE_SEND, Loss
from detector.ports import TopicPartition
from detector.state import parse_pointer
from detector.worker import StateLimits, WorkerLimits
from tests.simulation.hashing import HashingPipeline
from tests.workers import (
    GROUP,
    INPUT,
    STATE,
    TOPICS,
    Bench,
    ManualClock,
    broker_with,
    delivered,
    event_name,
    write,
)

PLACE = TopicPartition(INPUT, 0)
GOOD = [b"good"] * 20
NEVER = StateLimits(interval_s=1e9)
NAMES = [event_name(PLACE, offset) for offset in range(20)]


def begun(broker: MemoryBroker, state: StateLimits = NEVER, *, name: str = "pod-0", **more: Any) -> Bench:
    limits = more.pop("limits", WorkerLimits(batch_records_max=20))
    bench = Bench(broker, state=state, limits=limits, clock=ManualClock(0.001), transactional_id=name, **more)
    bench.worker.begin()
    return bench


def attempted(broker: MemoryBroker, topic: str = TOPICS.events) -> list[bytes | None]:
    """Everything that was ever sent, committed or not."""
    return [record.value for record in broker.records(TopicPartition(topic, 0), committed_only=False)]


def once(point: str, act: Callable[[], None]) -> Reached:
    """Do ``act`` the first time that ``point`` is reached."""
    waiting = [act]

    def reached(arrived: str) -> None:
        if arrived == point and waiting:
            waiting.pop()()

    return reached


def aborts(bench: Bench) -> list[object]:
    """Reasons of the aborts, and how many partitions went back."""
    return [fact[1:] for fact in bench.observer.facts if fact[0] == "transaction_aborted"]


class TestOneTransaction:
    def test_events_dead_letters_and_offsets_are_seen_together(self) -> None:
        broker = broker_with()
        write(broker, [b"good", b"bad", b"good"])
        bench = begun(broker, limits=WorkerLimits(rejects_ratio_max=1.0))
        bench.turn(3)
        assert (len(attempted(broker)), len(attempted(broker, TOPICS.dead_letters))) == (2, 1)
        assert (delivered(broker), delivered(broker, TOPICS.dead_letters), bench.committed()) == ([], [], None)
        bench.turn(1, advance_s=0.6)
        assert delivered(broker) == [event_name(PLACE, 0), event_name(PLACE, 2)]
        assert delivered(broker, TOPICS.dead_letters) == [b"bad"]
        assert bench.committed() == 3

    def test_the_chunks_of_a_snapshot_come_with_the_pointer_to_them_or_before(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker, StateLimits(interval_s=0.1, chunk_bytes_max=40), pipeline_factory=HashingPipeline)
        bench.run_until(lambda: "snapshot_written" in bench.observer.names())
        assert broker.records(TopicPartition(STATE, 0)) == []
        bench.turn(1, advance_s=0.6)
        pointer = parse_pointer(broker.group(GROUP).committed[PLACE].metadata)
        assert pointer is not None
        assert pointer.chunk_count > 3
        assert len(broker.records(TopicPartition(STATE, 0))) == pointer.chunk_count
        assert bench.store.read(PLACE, pointer)

    def test_nothing_is_sent_before_the_producer_is_known(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        broker.available = False
        bench.turn(3, advance_s=0.6)
        assert attempted(broker) == []
        broker.available = True
        bench.turn(4, advance_s=0.6)
        assert delivered(broker) == NAMES

    def test_while_the_producer_is_not_known_the_group_is_served(self) -> None:
        broker = broker_with()
        bench = begun(broker)
        broker.available = False
        bench.turn(12, advance_s=1.0)
        assert bench.observer.names() == ["held"]
        broker.available = True
        bench.turn(2)
        assert bench.observer.names() == ["held", "released", "assigned"]


class TestAbort:
    def test_an_abort_while_delivering_goes_back_to_the_last_commit(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(3, advance_s=0.6)
        write(broker, GOOD)
        bench.sink.acknowledged_max = 3
        bench.turn(1)
        assert len(attempted(broker)) == 23
        bench.transactions.demand_abort()
        bench.sink.acknowledged_max = None
        bench.turn(5, advance_s=0.6)
        assert delivered(broker) == [event_name(PLACE, offset) for offset in range(40)]
        assert len(attempted(broker)) == 43
        assert bench.committed() == 40
        assert aborts(bench) == [("the broker demands an abort", 1)]
        assert ("restored", PLACE, 0, 20) in bench.observer.facts
        assert ("replayed", PLACE, 20) in bench.observer.facts

    def test_an_abort_while_sending_reads_the_rest_of_the_batch_again(self) -> None:
        broker = broker_with(partitions=2)
        sent: list[str] = []

        def reached(point: str) -> None:
            sent.append(point)
            if point == BEFORE_SEND and sent.count(point) == 5:
                bench.transactions.demand_abort()

        bench = begun(broker, reached=reached, limits=WorkerLimits(batch_records_max=100))
        bench.turn(6)
        for partition in range(2):
            write(broker, GOOD, partition)
        bench.turn(8, advance_s=0.6)
        assert sorted(delivered(broker)) == sorted(  # type: ignore[type-var]
            event_name(TopicPartition(INPUT, partition), offset) for partition in range(2) for offset in range(20)
        )
        assert aborts(bench) == [("the broker demands an abort", 2)]

    def test_an_abort_at_the_commit_commits_nothing_of_it(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker, reached=once(BEFORE_OFFSETS, broker.group(GROUP).rebalance))
        bench.turn(3)
        bench.turn(1, advance_s=0.6)
        assert (delivered(broker), bench.committed()) == ([], None)
        assert aborts(bench) == [("the offsets of a transaction were refused: illegal generation", 1)]
        bench.turn(5, advance_s=0.6)
        assert (delivered(broker), bench.committed()) == (NAMES, 20)

    def test_a_snapshot_under_way_is_given_up_with_its_transaction_and_taken_again(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        state = StateLimits(interval_s=1.0, chunk_bytes_max=40)
        bench = begun(broker, state, pipeline_factory=HashingPipeline)
        bench.run_until(lambda: bench.committed() == 20)
        bench.sink.acknowledged_max = 1
        bench.run_until(lambda: len(attempted(broker, STATE)) == 2)
        bench.transactions.demand_abort()
        bench.turn(1)
        assert "snapshot_failed" in bench.observer.names()
        assert broker.records(TopicPartition(STATE, 0)) == []
        bench.sink.acknowledged_max = None
        bench.run_until(lambda: "snapshot_written" in bench.observer.names())
        bench.turn(2, advance_s=0.6)
        pointer = parse_pointer(broker.group(GROUP).committed[PLACE].metadata)
        assert pointer is not None
        assert pointer.chunk_count == len(broker.records(TopicPartition(STATE, 0))) > 2

    def test_a_partition_that_was_never_committed_begins_where_it_began_before(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(3)
        bench.transactions.demand_abort()
        bench.turn(6, advance_s=0.6)
        assert (delivered(broker), bench.committed()) == (NAMES, 20)
        assert "state_lost" not in bench.observer.names()

    def test_a_group_that_has_forgotten_its_offset_ends_the_worker(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(3, advance_s=0.6)
        assert bench.committed() == 20
        bench.source.forgets = {PLACE}
        bench.transactions.demand_abort()
        with pytest.raises(StopWorkerError, match="forgotten"):
            bench.turn(4, advance_s=0.6)


class TestDoom:
    def test_what_lost_partitions_said_is_not_committed_with_the_rest(self) -> None:
        broker = broker_with(partitions=2)
        for partition in range(2):
            write(broker, GOOD, partition)
        bench = begun(broker, limits=WorkerLimits(batch_records_max=100))
        bench.turn(6)
        assert len(attempted(broker)) == 40
        bench.source.expire()
        bench.turn(1, advance_s=0.6)
        assert (delivered(broker), broker.committed(GROUP)) == ([], {})
        bench.turn(8, advance_s=0.6)
        assert (len(delivered(broker)), len(attempted(broker))) == (40, 80)
        assert aborts(bench)[0] == ("partitions were lost to another member", 0)

    def test_a_revocation_that_is_too_late_takes_back_what_the_partition_said(self) -> None:
        broker = broker_with(partitions=2)
        for partition in range(2):
            write(broker, GOOD, partition)
        limits = WorkerLimits(batch_records_max=100, revoke_timeout_s=0.5)
        bench = Bench(
            broker, state=NEVER, limits=limits, clock=ManualClock(0.1), transactional_id="pod-0", acknowledged_max=0
        )
        bench.worker.begin()
        bench.run_until(lambda: bench.sink.pending() == 40, advance_s=0.0)
        other = begun(broker, name="pod-1")
        bench.turn(1)
        assert broker.committed(GROUP) == {}
        bench.sink.acknowledged_max = None
        for _ in range(10):
            bench.turn(1, advance_s=0.6)
            other.turn(1, advance_s=0.6)
        assert len(delivered(broker)) == len(set(delivered(broker))) == 40
        assert aborts(bench)[0] == ("what partitions said that were taken away was not delivered in time", 1)

    def test_an_abort_during_a_revocation_takes_the_partitions_that_stay_back_too(self) -> None:
        broker = broker_with(partitions=2)
        for partition in range(2):
            write(broker, GOOD, partition)
        bench = begun(broker, limits=WorkerLimits(batch_records_max=100))
        bench.turn(6)
        other = begun(broker, name="pod-1")
        bench.transactions.demand_abort()
        bench.turn(1)
        assert broker.committed(GROUP) == {}
        for _ in range(8):
            bench.turn(1, advance_s=0.6)
            other.turn(1, advance_s=0.6)
        assert len(delivered(broker)) == len(set(delivered(broker))) == 40

    def test_a_hand_over_whose_offsets_had_no_answer_is_not_committed_later_in_part(self) -> None:
        broker = broker_with(partitions=2)
        bench = begun(broker, limits=WorkerLimits(batch_records_max=100))
        bench.turn(6)
        for partition in range(2):
            write(broker, GOOD, partition)
        bench.turn(1)
        other = begun(broker, name="pod-1")
        bench.transactions.lose_answer("no offsets")
        bench.turn(1, advance_s=0.6)
        assert aborts(bench) == [("no answer to the offsets of a transaction", 1)]
        for _ in range(8):
            other.turn(1, advance_s=0.6)
            bench.turn(1, advance_s=0.6)
        assert len(delivered(broker)) == len(set(delivered(broker))) == 40

    def test_a_failure_during_a_revocation_ends_the_worker_and_its_membership(self) -> None:
        broker = broker_with(partitions=2)
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(3)
        assert bench.sink.pending() == 0
        begun(broker, name="pod-0")
        broker.coordinator.initialise("pod-0")
        with pytest.raises(StopWorkerError) as stopped:
            bench.turn(1)
        bench.worker.abandon(stopped.value)
        assert not broker.group(GROUP).is_member(bench.source)


class TestTooLarge:
    def letters(self, limit: int) -> tuple[MemoryBroker, Bench]:
        broker = broker_with()
        broker.message_bytes_max = limit
        write(broker, [b"bad" * 4_000])
        return broker, begun(broker, limits=WorkerLimits(rejects_ratio_max=1.0, dead_letter_bytes_max=12_000))

    def test_dead_letters_are_cut_in_half_until_their_topic_takes_them(self) -> None:
        broker, bench = self.letters(4_000)
        bench.run_until(lambda: bench.committed() == 1)
        (letter,) = broker.records(TopicPartition(TOPICS.dead_letters, 0))
        assert 2_000 < len(letter.value or b"") < 3_000
        assert dict(letter.headers)["detector-value-bytes"] == b"12000"
        assert len(aborts(bench)) == 2
        assert bench.worker._dead_letter_bytes_max == 3_000

    def test_below_the_least_size_nothing_is_cut_any_more(self) -> None:
        _, bench = self.letters(300)
        bench.run_until(lambda: len(aborts(bench)) >= 6)
        assert bench.worker._dead_letter_bytes_max == 1_024

    def test_an_event_that_is_too_large_stops(self) -> None:
        broker = broker_with()
        broker.message_bytes_max = 10
        write(broker, GOOD)
        bench = begun(broker)
        with pytest.raises(DeliveryFailedError, match=TOPICS.events):
            bench.turn(4)


class TestEnd:
    def test_a_stop_commits_everything_with_a_last_snapshot(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(3)
        bench.worker.finish()
        assert (delivered(broker), bench.committed()) == (NAMES, 20)
        pointer = parse_pointer(broker.group(GROUP).committed[PLACE].metadata)
        assert pointer is not None
        assert (pointer.offset, pointer.chunk_count) == (20, 1)

    def test_a_stop_that_meets_an_abort_leaves_everything_to_the_next_owner(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(3)
        bench.transactions.demand_abort()
        bench.worker.finish()
        assert (delivered(broker), bench.committed()) == ([], None)
        assert bench.observer.names()[-1] == "stopped"
        assert broker.coordinator.open_ids() == []
        successor = begun(broker)
        successor.turn(4, advance_s=0.6)
        assert (delivered(broker), bench.committed()) == (NAMES, 20)

    def test_a_stop_before_the_producer_is_known_sends_nothing(self) -> None:
        broker = broker_with()
        bench = begun(broker)
        broker.available = False
        bench.worker.finish()
        assert bench.observer.names()[-1] == "stopped"

    @pytest.mark.parametrize("loss", ["applied", "not applied"])
    def test_a_commit_without_an_answer_ends_the_run_and_the_next_start_reads_the_truth(self, loss: Loss) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(3)
        bench.transactions.lose_answer(loss)
        with pytest.raises(OutcomeUnknownError) as stopped:
            bench.turn(1, advance_s=0.6)
        bench.worker.abandon(stopped.value)
        assert len(delivered(broker)) == (20 if loss == "applied" else 0)
        successor = begun(broker)
        successor.turn(4, advance_s=0.6)
        assert (delivered(broker), bench.committed()) == (NAMES, 20)
        assert "transaction_aborted" not in bench.observer.names()

    def test_a_worker_whose_id_was_taken_ends(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker)
        bench.turn(3)
        broker.coordinator.initialise("pod-0")
        with pytest.raises(StopWorkerError, match="pod-0"):
            bench.turn(1, advance_s=0.6)
        assert (delivered(broker), bench.committed()) == ([], None)
