"""Learning before the first word: what a partition without a commit holds is learnt, and only then is anything said."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.batches import BatchCounts, Event, Output, RecordBatch, Reject
from detector.errors import StateLostError, TransactionAbortedError
from detector.io import MemoryBroker, StoredRecord
from detector.io.memory_log import Outcome
from detector.ports import Committed, RecordedBatch, TopicPartition
from detector.state import Snapshot, SnapshotHeader, parse_pointer
from detector.worker import Bootstrap, FileLessons, StateLimits, WorkerLimits
from tests.workers import GROUP, INPUT, STATE, TOPICS, Bench, CountingPipeline, ManualClock, TwoSlices, broker_with

PLACE: Final = TopicPartition(INPUT, 0)
NEVER: Final = StateLimits(interval_s=1e9)
STRICT: Final = StateLimits(interval_s=1e9, on_state_loss="fail")
ALL: Final = Bootstrap(None, records_max=3)
MINUTE_MS: Final = 60_000


class EpisodePipeline(CountingPipeline):
    """``up`` opens an episode or updates the open one, ``ok`` closes it; each event names its record.

    What it has learnt is the number of records seen; a ``probe`` tells it.
    """

    def __init__(self, place: TopicPartition) -> None:
        super().__init__(place)
        self.opened_at = -1

    def begin_snapshot(self, *, offset: int, cluster: str) -> TwoSlices:
        header: SnapshotHeader = super().begin_snapshot(offset=offset, cluster=cluster).header
        return TwoSlices(header, {"seen": np.array([self._seen]), "opened_at": np.array([self.opened_at])})

    def restore(self, snapshot: Snapshot, *, cluster: str) -> int:
        self.opened_at = int(snapshot.columns["opened_at"][0])
        return super().restore(snapshot, cluster=cluster)

    def forget_episodes(self) -> None:
        self.opened_at = -1

    def process(self, batch: RecordBatch) -> Output:
        events: list[Event] = []
        rejects: list[Reject] = []
        for row, (offset, value) in enumerate(zip(batch.offsets.tolist(), batch.values, strict=True)):
            self._seen += 1
            if value == b"up" and self.opened_at < 0:
                self.opened_at = offset
                events.append(Event(b"key", b"opened %d" % offset, f"from {offset}", "opened"))
            elif value == b"up":
                events.append(Event(b"key", b"updated %d" % offset, f"from {self.opened_at}", "updated"))
            elif value == b"ok" and self.opened_at >= 0:
                events.append(Event(b"key", b"closed %d" % offset, f"from {self.opened_at}", "closed"))
                self.opened_at = -1
            elif value == b"probe":
                events.append(Event(b"key", b"%d seen" % self._seen))
            elif value == b"bad":
                rejects.append(Reject(row, offset, "invalid_json", "not JSON"))
        next_offset = int(batch.offsets[-1]) + 1 if len(batch) else 0
        return Output(events, rejects, next_offset, BatchCounts(records=len(batch)))


class Lines:
    """Files, as the worker sees them."""

    def __init__(self, values: Sequence[bytes], size: int = 2) -> None:
        self.until_ms: list[int] = []
        self._values = values
        self._size = size

    def batches(self, place: TopicPartition, until_ms: int) -> Iterator[RecordedBatch]:
        self.until_ms.append(until_ms)
        for start in range(0, len(self._values), self._size):
            part = list(self._values[start : start + self._size])
            offsets = np.arange(start, start + len(part), dtype=np.int64)
            times = np.zeros(len(part), dtype=np.int64)
            yield RecordedBatch(RecordBatch(*place, offsets, times, part), (start + len(part)) / len(self._values))


def lessons(values: Sequence[bytes]) -> Bootstrap:
    return Bootstrap(None, FileLessons(Lines(values), EpisodePipeline), records_max=3)


def write(broker: MemoryBroker, values: Sequence[bytes], *, partition: int = 0, at_ms: int = 0) -> None:
    for value in values:
        broker.append(TopicPartition(INPUT, partition), StoredRecord(b"key", value, (), at_ms))


def begun(broker: MemoryBroker, bootstrap: Bootstrap | None = ALL, **more: Any) -> Bench:
    settings: dict[str, Any] = {
        "state": NEVER,
        "limits": WorkerLimits(batch_records_max=3),
        "clock": ManualClock(0.001),
        "pipeline_factory": EpisodePipeline,
        "transactional_id": "pod-0",
    }
    bench = Bench(broker, bootstrap=bootstrap, **(settings | more))
    bench.worker.begin()
    return bench


def live(broker: MemoryBroker, bootstrap: Bootstrap | None = ALL, **more: Any) -> Bench:
    bench = begun(broker, bootstrap, **more)
    bench.run_until(lambda: bench.worker.ready)
    return bench


def settled(bench: Bench) -> None:
    """Until everything there is has been committed, and for a while after that."""
    bench.run_until(lambda: bench.worker.ready)
    places = [each.place for each in bench.worker._assignments.all()]
    ends = {place: bench.broker.log(place).stable_end for place in places}
    bench.run_until(lambda: all(bench.broker.committed(GROUP).get(place, 0) >= ends[place] for place in places))
    bench.turn(8, advance_s=1.0)


def stopped(broker: MemoryBroker, reason: str) -> None:
    """A worker that may lose no state ends with this reason."""
    bench = begun(broker, state=STRICT)
    with pytest.raises(StateLostError, match=reason):
        bench.run_until(lambda: bench.worker.ready)
    bench.source.expire()


def said(broker: MemoryBroker) -> list[bytes | None]:
    return [record.value for record in broker.records(TopicPartition(TOPICS.events, 0))]


def committed(broker: MemoryBroker) -> Committed:
    return broker.group(GROUP).committed[PLACE]


def facts(bench: Bench, name: str) -> list[tuple[object, ...]]:
    return [fact for fact in bench.observer.facts if fact[0] == name]


class TestHistoryOfTheTopic:
    def test_what_is_there_is_learnt_and_nothing_is_said_about_it(self) -> None:
        broker = broker_with()
        write(broker, [b"up", b"ok"] * 10)
        bench = live(broker)
        assert said(broker) == []
        write(broker, [b"probe"])
        settled(bench)
        assert said(broker) == [b"21 seen"]

    def test_without_it_everything_is_said(self) -> None:
        broker = broker_with()
        write(broker, [b"up", b"ok"])
        settled(live(broker, None))
        assert said(broker) == [b"opened 0", b"closed 1"]

    def test_records_older_than_the_age_are_left_alone(self) -> None:
        broker = broker_with()
        broker.now_ms = 100 * MINUTE_MS
        write(broker, [b"ok"] * 5, at_ms=10 * MINUTE_MS)
        write(broker, [b"ok"] * 7, at_ms=95 * MINUTE_MS)
        bench = live(broker, Bootstrap(5 * MINUTE_MS))
        write(broker, [b"probe"])
        settled(bench)
        assert said(broker) == [b"8 seen"]
        assert ("bootstrap_begun", PLACE, "topic", 5, 12) in bench.observer.facts

    @pytest.mark.parametrize("count", [0, 6])
    def test_a_partition_with_nothing_to_learn_from_is_live_at_its_end(self, count: int) -> None:
        broker = broker_with()
        broker.now_ms = 100 * MINUTE_MS
        write(broker, [b"up"] * count)
        bench = live(broker, Bootstrap(MINUTE_MS))
        write(broker, [b"probe"])
        settled(bench)
        assert said(broker) == [b"1 seen"]

    @pytest.mark.parametrize("outcome", [Outcome.COMMITTED, Outcome.ABORTED])
    def test_what_no_reader_gets_is_not_waited_for(self, outcome: Outcome) -> None:
        broker = broker_with()
        write(broker, [b"ok"] * 4)
        epoch = broker.coordinator.initialise("upstream")
        transaction = broker.coordinator.current("upstream", epoch)
        broker.append(PLACE, StoredRecord(b"key", b"ok"), transaction)
        broker.coordinator.end("upstream", epoch, outcome)
        live(broker)
        assert broker.log(PLACE).end == 6
        assert committed(broker).offset == (5 if outcome is Outcome.COMMITTED else 4)

    def test_a_compacted_topic_is_learnt_from_what_is_left(self) -> None:
        broker = broker_with()
        write(broker, [b"ok"] * 10)
        broker.compact(PLACE, 10)
        bench = live(broker)
        write(broker, [b"probe"])
        settled(bench)
        assert said(broker) == [b"2 seen"]
        assert ("bootstrap_begun", PLACE, "topic", 9, 10) in bench.observer.facts

    def test_a_committed_offset_is_never_bootstrapped(self) -> None:
        broker = broker_with()
        write(broker, [b"up"])
        first = live(broker, None)
        settled(first)
        first.source.expire()
        write(broker, [b"ok"])
        second = live(broker)
        settled(second)
        assert facts(second, "bootstrap_begun") == []
        assert said(broker) == [b"opened 0", b"closed 1"]

    def test_other_partitions_go_on_meanwhile(self) -> None:
        broker = broker_with(partitions=2)
        write(broker, [b"ok"], partition=1)
        first = live(broker, None)
        settled(first)
        first.source.expire()
        broker.group(GROUP).committed.pop(PLACE, None)
        write(broker, [b"ok"] * 300)
        second = begun(broker)
        write(broker, [b"up"], partition=1)
        second.run_until(lambda: said(broker) == [b"opened 1"])
        assert not second.worker.ready
        second.run_until(lambda: second.worker.ready)
        assert said(broker) == [b"opened 1"]

    def test_rejects_of_it_are_counted_and_are_no_dead_letters(self) -> None:
        broker = broker_with()
        write(broker, [b"bad", b"ok", b"bad"])
        bench = live(broker)
        settled(bench)
        ((_, place, report),) = facts(bench, "bootstrap_ended")
        assert place == PLACE
        assert (report.stage, report.records, report.rejected) == ("topic", 3, {"invalid_json": 2})  # type: ignore[attr-defined]
        assert broker.records(TopicPartition(TOPICS.dead_letters, 0)) == []

    def test_a_snapshot_follows_at_once(self) -> None:
        broker = broker_with()
        write(broker, [b"ok"] * 9)
        settled(live(broker))
        pointer = parse_pointer(committed(broker).metadata)
        assert pointer is not None
        assert (pointer.offset, pointer.is_empty, pointer.untold) == (9, False, False)


class TestWhatIsOpen:
    def test_an_episode_that_is_open_is_told_with_its_true_beginning_and_its_latest_update(self) -> None:
        broker = broker_with()
        write(broker, [b"up", b"ok", b"up", b"up", b"up", b"up"])
        bench = live(broker)
        settled(bench)
        assert said(broker) == [b"opened 2", b"updated 5"]
        write(broker, [b"ok"])
        settled(bench)
        assert said(broker) == [b"opened 2", b"updated 5", b"closed 6"]

    def test_it_is_told_although_no_record_comes_any_more(self) -> None:
        broker = broker_with()
        write(broker, [b"up"])
        bench = live(broker)
        bench.turn(3, advance_s=1.0)
        assert said(broker) == [b"opened 0"]
        assert committed(broker).offset == 1

    def test_it_is_told_once_however_often_the_worker_begins_anew(self) -> None:
        broker = broker_with()
        write(broker, [b"up"] * 4)
        for _ in range(3):
            bench = live(broker)
            settled(bench)
            bench.source.expire()
        assert said(broker) == [b"opened 0", b"updated 3"]

    def test_a_crash_before_it_is_committed_tells_it_anew(self) -> None:
        broker = broker_with()
        write(broker, [b"up"] * 4)
        first = begun(broker)
        first.run_until(lambda: bool(facts(first, "bootstrap_ended")), advance_s=0.01)
        assert said(broker) == []
        assert committed(broker).metadata.endswith(";untold")
        first.source.expire()
        write(broker, [b"ok"])
        second = live(broker)
        settled(second)
        assert said(broker) == [b"opened 0", b"updated 3", b"closed 4"]

    def test_at_least_once_it_comes_again_and_what_follows_comes_too(self) -> None:
        broker = broker_with()
        write(broker, [b"up"] * 4)
        first = begun(broker, transactional_id=None)
        first.run_until(lambda: said(broker) == [b"opened 0", b"updated 3"], advance_s=0.01)
        assert committed(broker).metadata.endswith(";untold")
        first.source.expire()
        write(broker, [b"ok"])
        settled(live(broker, transactional_id=None))
        assert said(broker) == [b"opened 0", b"updated 3"] * 2 + [b"closed 4"]


def expected(values: Sequence[bytes], end: int) -> list[bytes]:
    """What a worker that had always been live would have said, without what was over before ``end``."""
    events = EpisodePipeline(PLACE).process(
        RecordBatch(*PLACE, np.arange(len(values)), np.zeros(len(values), dtype=np.int64), list(values))
    )
    before: dict[str, list[bytes]] = {}
    after = []
    for event in events.events:
        if int(event.value.split()[1]) >= end:
            after.append(event.value)
        elif event.state == "closed":
            del before[event.episode]
        else:
            before[event.episode] = [*before.get(event.episode, ())[:1], event.value]
    return [value for values in before.values() for value in values] + after


class TestCrashes:
    @given(
        history=st.lists(st.sampled_from([b"up", b"ok", b"quiet"]), max_size=12),
        later=st.lists(st.sampled_from([b"up", b"ok", b"quiet"]), max_size=8),
        lives=st.lists(st.integers(0, 12), max_size=4),
        size=st.integers(1, 5),
    )
    def test_kills_at_any_time_change_nothing(
        self, history: list[bytes], later: list[bytes], lives: list[int], size: int
    ) -> None:
        """From the first commit on it is settled where the partition will be live, whoever owns it."""
        broker, limits, everything = broker_with(), WorkerLimits(batch_records_max=size), Bootstrap(None, None, size)
        write(broker, history)
        first = begun(broker, everything, limits=limits)
        first.run_until(lambda: first.committed() is not None)
        first.source.expire()
        assert committed(broker).offset == len(history)
        for number, turns in enumerate(lives):
            write(broker, later[number : number + 1])
            bench = begun(broker, everything, limits=limits)
            bench.turn(turns, advance_s=0.2)
            bench.source.expire()
        write(broker, later[len(lives) :])
        settled(live(broker, everything, limits=limits))
        assert said(broker) == expected(history + later, len(history))

    @given(turns=st.integers(0, 25), delivery=st.sampled_from(["pod-0", None]))
    def test_a_rebalance_in_the_middle_hands_it_over(self, turns: int, delivery: str | None) -> None:
        broker = broker_with(partitions=2)
        for partition in range(2):
            write(broker, [b"up", b"ok", b"up"] * 7, partition=partition)
        first = begun(broker, transactional_id=delivery)
        first.turn(turns, advance_s=0.1)
        second = begun(broker, transactional_id=delivery and "pod-1")
        for _ in range(60):
            first.turn(advance_s=0.1)
            second.turn(advance_s=0.1)
        assert first.worker.ready
        assert second.worker.ready
        assert sorted(value or b"" for value in said(broker)) == [b"opened 20"] * 2

    def test_an_aborted_transaction_begins_it_again(self) -> None:
        broker = broker_with()
        write(broker, [b"up"] * 4)
        bench = begun(broker)
        bench.run_until(lambda: bool(facts(bench, "bootstrap_ended")), advance_s=0.01)
        bench.transactions.demand_abort()
        bench.run_until(lambda: said(broker) == [b"opened 0", b"updated 3"])
        assert "transaction_aborted" in bench.observer.names()

    def test_an_aborted_transaction_costs_nothing_of_what_was_learnt(self) -> None:
        broker = broker_with(partitions=2)
        write(broker, [b"ok"], partition=1)
        first = live(broker, None)
        settled(first)
        first.source.expire()
        write(broker, [b"up"] * 300)
        second = begun(broker)
        second.run_until(lambda: bool(facts(second, "bootstrap_advanced")))
        write(broker, [b"up"], partition=1)
        second.run_until(lambda: second.sink.pending() > 0 or said(broker) != [], advance_s=0.0)
        second.transactions.demand_abort()
        second.run_until(lambda: second.worker.ready)
        settled(second)
        assert "transaction_aborted" in second.observer.names()
        assert sum(records for *_, records, _ in facts(second, "bootstrap_advanced")) == 300  # type: ignore[misc]
        assert sorted(said(broker), key=str) == [b"opened 0", b"opened 1", b"updated 299"]

    def test_an_abort_after_all_is_committed_tells_nothing_again(self) -> None:
        broker = broker_with()
        write(broker, [b"up"] * 4)
        bench = begun(broker)
        bench.run_until(lambda: bench.committed() == 4 and "untold" not in committed(broker).metadata)
        assert not bench.worker.ready, "the input is not opened yet"
        bench.worker._go_back(TransactionAbortedError("the broker demands an abort"))
        settled(bench)
        assert said(broker) == [b"opened 0", b"updated 3"]
        pointer = parse_pointer(committed(broker).metadata)
        assert pointer is not None
        assert (pointer.offset, pointer.generation) == (4, 1)

    def test_brokers_without_an_answer_are_asked_again(self) -> None:
        broker = broker_with()
        write(broker, [b"up"])
        bench = begun(broker, at_once=False)
        bench.turn(2, advance_s=1.0)
        broker.available = False
        bench.reading.run_one()
        bench.turn(2, advance_s=1.0)
        assert "restore_postponed" in bench.observer.names()
        broker.available = True
        for _ in range(20):
            bench.reading.run_one()
            bench.turn(advance_s=1.0)
        assert said(broker) == [b"opened 0"]


class TestRetention:
    def test_what_it_takes_from_the_beginning_is_not_missed(self) -> None:
        broker = broker_with()
        write(broker, [b"ok"] * 10)
        first = begun(broker, state=STRICT)
        first.run_until(lambda: first.committed() is not None)
        first.source.expire()
        broker.expire_records(PLACE, 4)
        write(broker, [b"probe"])
        second = live(broker, state=STRICT)
        settled(second)
        assert said(broker) == [b"7 seen"]
        assert facts(second, "state_lost") == []

    def test_what_it_takes_in_the_middle_is_not_missed(self) -> None:
        broker = broker_with()
        write(broker, [b"ok"] * 500)
        bench = begun(broker, state=STRICT)
        bench.run_until(lambda: bool(facts(bench, "bootstrap_advanced")))
        broker.expire_records(PLACE, 450)
        bench.run_until(lambda: bench.worker.ready)
        seen = sum(records for _, _, _, records, _ in facts(bench, "bootstrap_advanced"))  # type: ignore[misc]
        write(broker, [b"probe"])
        settled(bench)
        assert 50 < seen < 450
        assert "restore_postponed" in bench.observer.names()
        assert said(broker) == [b"%d seen" % (seen + 1)]
        assert facts(bench, "state_lost") == []

    def test_expired_offsets_of_the_group_are_said_and_then_it_learns(self) -> None:
        broker = broker_with()
        write(broker, [b"ok"] * 4)
        first = live(broker)
        settled(first)
        first.source.expire()
        broker.group(GROUP).committed.clear()
        stopped(broker, "have expired")
        second = live(broker)
        write(broker, [b"probe"])
        settled(second)
        assert len(facts(second, "state_lost")) == 1
        assert said(broker) == [b"5 seen"]


class TestFiles:
    def test_files_are_learnt_first_then_what_the_partition_holds(self) -> None:
        broker = broker_with()
        write(broker, [b"ok"] * 3, at_ms=7 * MINUTE_MS)
        bootstrap = lessons([b"up", b"quiet", b"up", b"bad", b"quiet"])
        bench = live(broker, bootstrap)
        write(broker, [b"probe"])
        settled(bench)
        assert said(broker) == [b"9 seen"], "and an episode of the files is neither told nor closed"
        assert [fact[2:] for fact in facts(bench, "bootstrap_begun")] == [("files", 0, 0), ("topic", 0, 3)]
        report: Any = facts(bench, "bootstrap_ended")[0][2]
        assert (report.stage, report.records, report.rejected) == ("files", 5, {"invalid_json": 1})
        assert (report.opened, report.updated) == (0, 0), "nothing of them is told"
        assert [fact[4] for fact in facts(bench, "bootstrap_advanced")][:3] == [0.4, 0.8, 1.0]

    def test_they_are_learnt_up_to_the_time_of_the_first_record(self) -> None:
        broker = broker_with()
        broker.now_ms = 50 * MINUTE_MS
        write(broker, [b"ok"], at_ms=7 * MINUTE_MS)
        files = Lines([b"quiet"])
        live(broker, Bootstrap(None, FileLessons(files, EpisodePipeline)))
        assert files.until_ms == [7 * MINUTE_MS]

    def test_they_are_learnt_up_to_now_where_there_is_no_record(self) -> None:
        broker = broker_with()
        broker.now_ms = 50 * MINUTE_MS
        files = Lines([b"quiet"])
        bench = live(broker, Bootstrap(None, FileLessons(files, EpisodePipeline)))
        assert files.until_ms == [50 * MINUTE_MS]
        write(broker, [b"probe"])
        settled(bench)
        assert said(broker) == [b"2 seen"]

    @given(lives=st.lists(st.integers(0, 14), max_size=4), delivery=st.sampled_from(["pod-0", None]))
    def test_kills_at_any_time_change_nothing(self, lives: list[int], delivery: str | None) -> None:
        broker = broker_with()
        write(broker, [b"ok", b"up", b"up", b"quiet"], at_ms=7 * MINUTE_MS)
        bootstrap = lessons([b"up"] * 6)
        for turns in lives:
            bench = begun(broker, bootstrap, transactional_id=delivery)
            bench.turn(turns, advance_s=0.1)
            bench.source.expire()
        write(broker, [b"probe"])
        bench = live(broker, bootstrap, transactional_id=delivery)
        settled(bench)
        write(broker, [b"probe"])
        settled(bench)
        last = said(broker)[-1]
        assert last == b"12 seen"
        assert len([value for value in said(broker) if value == b"opened 1"]) <= (1 if delivery else len(lives) + 1)

    def test_without_them_a_bootstrap_that_was_cut_short_says_so_and_learns_the_rest(self) -> None:
        broker = broker_with()
        write(broker, [b"ok"] * 3)
        first = begun(broker, lessons([b"up"] * 4))
        first.run_until(lambda: first.committed() is not None)
        first.source.expire()
        stopped(broker, "cut short")
        second = live(broker)
        write(broker, [b"probe"])
        settled(second)
        assert said(broker) == [b"4 seen"]
        assert len(facts(second, "state_lost")) == 1

    def test_a_snapshot_that_fails_is_tried_again(self) -> None:
        broker = broker_with()
        bench = begun(broker, lessons([b"quiet"] * 4), state=StateLimits(interval_s=2.0), transactional_id=None)
        bench.sink.fail_next(STATE)
        bench.run_until(lambda: "snapshot_failed" in bench.observer.names())
        bench.run_until(lambda: bench.worker.ready)
        write(broker, [b"probe"])
        settled(bench)
        assert said(broker) == [b"5 seen"]

    def test_a_stop_in_the_middle_loses_nothing(self) -> None:
        broker = broker_with()
        bootstrap = Bootstrap(None, FileLessons(Lines([b"quiet"] * 1_000), EpisodePipeline))
        first = begun(broker, bootstrap)
        first.run_until(lambda: bool(facts(first, "bootstrap_advanced")))
        assert facts(first, "bootstrap_ended") == []
        first.worker.finish()
        second = live(broker, bootstrap)
        write(broker, [b"probe"])
        settled(second)
        assert said(broker) == [b"1001 seen"]
