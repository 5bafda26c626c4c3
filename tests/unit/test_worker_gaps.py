"""Gaps in the input of a worker that runs, or that keeps no models: on the broker in memory."""

from typing import Any

import pytest

from detector.errors import StateLostError
from detector.io import MemoryBroker
from detector.ports import Committed, OffsetRange, TopicPartition
from detector.state import parse_pointer
from detector.worker import StateLimits, WorkerLimits
from detector.worker.gaps import gap_at
from tests.workers import GROUP, INPUT, Bench, ManualClock, broker_with, delivered, event_name, write

PLACE = TopicPartition(INPUT, 0)
GOOD = [b"good"] * 20
KEEPING = StateLimits(interval_s=0.5)
every_keeping = pytest.mark.parametrize("state", [None, KEEPING], ids=["forgetting", "keeping"])


def begun(broker: MemoryBroker, state: StateLimits | None = None, **limits: Any) -> Bench:
    bench = Bench(
        broker, state=state, limits=WorkerLimits(**{"batch_records_max": 10, **limits}), clock=ManualClock(0.001)
    )
    bench.worker.begin()
    return bench


def losses(bench: Bench) -> list[tuple[object, ...]]:
    return [fact for fact in bench.observer.facts if fact[0] == "state_lost"]


def names(*offsets: int) -> list[bytes]:
    return [event_name(PLACE, offset) for offset in offsets]


class TestJudgement:
    @pytest.mark.parametrize("position", [3, 5, 9])
    def test_what_is_kept_is_no_gap(self, position: int) -> None:
        assert gap_at(position, 9, OffsetRange(3, 9)) is None

    def test_records_that_only_a_replay_needs_are_a_gap_but_nothing_unread_is_gone(self) -> None:
        gap = gap_at(2, 5, OffsetRange(3, 9))
        assert gap is not None
        assert (gap.start, gap.records_lost) == (5, 0)

    @pytest.mark.parametrize("position", [2, 4])
    def test_records_that_were_never_processed_are_counted(self, position: int) -> None:
        gap = gap_at(position, 4, OffsetRange(7, 9))
        assert gap is not None
        assert (gap.start, gap.records_lost) == (7, 3)

    @pytest.mark.parametrize("position", [1, 5, 12])
    def test_offsets_past_the_end_begin_where_the_input_does(self, position: int) -> None:
        gap = gap_at(position, 12, OffsetRange(3, 9))
        assert gap is not None
        assert (gap.start, gap.records_lost) == (3, 0)


@every_keeping
class TestRunningWorker:
    def overtaken(self, state: StateLimits | None, **limits: Any) -> tuple[MemoryBroker, Bench]:
        """All 20 records processed; then 20 come and 15 of them go before the worker reads on."""
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker, state, **limits)
        bench.run_until(lambda: bench.committed() == 20)
        write(broker, GOOD)
        broker.expire_records(PLACE, 35)
        return broker, bench

    def test_retention_that_overtakes_it_is_told_and_counted(self, state: StateLimits | None) -> None:
        broker, bench = self.overtaken(state)
        bench.run_until(lambda: bench.committed() == 40)
        assert [(fact[1], fact[3]) for fact in losses(bench)] == [(PLACE, 15)]
        assert delivered(broker)[-6:] == names(19, 35, 36, 37, 38, 39)
        pipeline: Any = bench.worker._assignments.at(PLACE).pipeline
        assert pipeline._seen == 5

    def test_the_strict_setting_stops_it_with_the_last_commit_in_force(self, state: StateLimits | None) -> None:
        _, bench = self.overtaken(state, on_gap="fail")
        with pytest.raises(
            StateLostError, match=r"offset 35, past 20: 15 records.*`detector state reset input:0 --to-ear"
        ):
            bench.turn(5)
        assert bench.committed() == 20

    def test_brokers_without_an_answer_are_asked_again(self, state: StateLimits | None) -> None:
        broker, bench = self.overtaken(state)
        bench.worker._take()
        broker.available = False
        bench.turn(3, advance_s=0.6)
        assert "restore_postponed" in bench.observer.names()
        assert not losses(bench)
        broker.available = True
        bench.run_until(lambda: bench.committed() == 40)
        assert len(losses(bench)) == 1

    def test_a_partition_that_leaves_meanwhile_is_the_next_owner_s(self, state: StateLimits | None) -> None:
        _, bench = self.overtaken(state)
        bench.worker._take()
        bench.source.expire()
        bench.worker._take()
        bench.turn(6, advance_s=0.6)
        assert [fact[3] for fact in losses(bench)] == [15]
        assert bench.committed() == 40

    def test_a_topic_created_anew_is_read_from_its_beginning(self, state: StateLimits | None) -> None:
        broker, bench = self.overtaken(state)
        broker.recreate_topic(INPUT)
        write(broker, GOOD[:7])
        bench.run_until(lambda: bench.committed() == 7)
        assert [fact[3] for fact in losses(bench)] == [0]
        assert delivered(broker)[-7:] == names(*range(7))

    def test_records_of_before_the_gap_in_the_same_turn_are_processed_first(self, state: StateLimits | None) -> None:
        broker, bench = self.overtaken(state)
        bench.run_until(lambda: bench.committed() == 40)
        write(broker, GOOD)
        bench.turn()
        broker.expire_records(PLACE, 55)
        bench.run_until(lambda: bench.committed() == 60)
        assert [fact[3] for fact in losses(bench)] == [15, 5]
        assert delivered(broker)[-6:] == names(49, 55, 56, 57, 58, 59)

    def test_a_held_worker_notices_when_it_reads_again(self, state: StateLimits | None) -> None:
        broker = broker_with()
        write(broker, GOOD)
        bench = begun(broker, state, pending_messages_max=1, hold_after_s=0.5)
        bench.run_until(lambda: bench.committed() == 20)
        bench.sink.acknowledged_max = 0
        write(broker, GOOD)
        bench.run_until(lambda: "held" in bench.observer.names())
        broker.expire_records(PLACE, 40)
        bench.sink.acknowledged_max = None
        bench.run_until(lambda: bench.committed() == 40)
        processed = next(fact[2] for fact in losses(bench))
        assert processed == "the input begins at offset 40, past 30: 10 records were removed before they were read"


class TestWithoutKeptModels:
    def test_a_committed_offset_that_is_gone_is_no_first_start(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        broker.expire_records(PLACE, 15)
        broker.group(GROUP).committed[PLACE] = Committed(10)
        bench = begun(broker)
        bench.run_until(lambda: bench.committed() == 20)
        assert [fact[3] for fact in losses(bench)] == [5]

    def test_the_strict_setting_stops_it(self) -> None:
        broker = broker_with()
        broker.group(GROUP).committed[PLACE] = Committed(10)
        with pytest.raises(StateLostError, match="offsets 0 to 0 do not go on at 10"):
            begun(broker, on_gap="fail").turn(3)

    def test_a_first_start_reads_what_is_there(self) -> None:
        broker = broker_with()
        write(broker, GOOD)
        broker.expire_records(PLACE, 15)
        bench = begun(broker, on_gap="fail")
        bench.run_until(lambda: bench.committed() == 20)
        assert delivered(broker) == names(*range(15, 20))


def test_after_a_gap_the_models_are_kept_again() -> None:
    broker = broker_with()
    write(broker, GOOD)
    bench = begun(broker, KEEPING)
    bench.run_until(lambda: bench.committed() == 20)
    write(broker, GOOD)
    broker.expire_records(PLACE, 35)

    def snapshotted() -> bool:
        pointer = parse_pointer(broker.group(GROUP).committed[PLACE].metadata)
        return pointer is not None and pointer.offset == 40

    bench.run_until(snapshotted)
    bench.source.expire()
    second = begun(broker, StateLimits(on_state_loss="fail"))
    second.turn(5)
    assert ("restored", PLACE, 40, 40) in second.observer.facts
