"""Workers that keep their models through seeded schedules of kills, stops, expiries, outages and rebalances.

Snapshots and restores end at random moments, too, some of them never, and the state topic is compacted in between. At
the end, events without their repeats are those of an undisturbed run, to the byte, and so are the models.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final

import orjson
import pytest

from detector.batches import TIMESTAMP_UNKNOWN
from detector.io import MemoryBroker, StoredRecord
from detector.ports import TopicPartition
from detector.state import encode
from detector.worker import StateLimits, WorkerLimits
from tests.pipelines import pipeline
from tests.simulation.base import Schedule, Step
from tests.simulation.test_worker_pipelines import build, stream
from tests.streams import TOPIC, batch_of
from tests.workers import GROUP, STATE, TOPICS, Bench, LazyExecutor, ManualClock, delivered, state_of

PARTITIONS: Final = 3
STEPS: Final = 260
COMPACTION_LAG_STEPS: Final = 60
LIMITS: Final = WorkerLimits(
    batch_records_max=40, commit_interval_s=0.5, pending_messages_max=50, hold_after_s=1.0, rejects_ratio_max=1.0
)
STATE_LIMITS: Final = StateLimits(interval_s=1.5, on_state_loss="fail", retry_s=0.2)


@cache
def streams() -> tuple[tuple[bytes | None, ...], ...]:
    return tuple(tuple(stream(partition, minutes=400)) for partition in range(PARTITIONS))


@cache
def calm() -> tuple[dict[str, bytes], tuple[bytes, ...]]:
    """Events by id and final state of pipelines that saw each partition in one batch."""
    events: dict[str, bytes] = {}
    states = []
    for partition, values in enumerate(streams()):
        alone = pipeline(partition=partition)
        output = alone.process(batch_of(list(values), partition=partition, timestamp_ms=TIMESTAMP_UNKNOWN))
        events |= {orjson.loads(event.value or b"")["id"]: event.value or b"" for event in output.events}
        states.append(encode(*alone.snapshot(offset=len(values), cluster="memory")))
    return events, tuple(states)


class StateSchedule(Schedule):
    """One run; every choice comes from the seed."""

    def __init__(self, seed: int) -> None:
        broker = MemoryBroker()
        broker.create_topic(TOPIC, partitions=PARTITIONS)
        broker.create_topic(TOPICS.events, partitions=1)
        broker.create_topic(TOPICS.dead_letters, partitions=1)
        broker.create_topic(STATE, partitions=PARTITIONS)
        super().__init__(seed, broker, TOPIC)
        self.written = dict.fromkeys(self.places, 0)
        self.gone: list[LazyExecutor] = []
        self.ends: list[dict[TopicPartition, int]] = []

    def weights(self) -> Mapping[Step, int]:
        return {
            self.turn: 70,
            self.produce: 22,
            self.start: 8,
            self.write_snapshot: 14,
            self.load_snapshot: 16,
            self.write_late: 2,
            self.impatient: 2,
            self.break_snapshot: 2,
            self.compact: 4,
            self.slow: 3,
            self.outage: 2,
            self.stop: 4,
            self.kill: 4,
            self.expire: 2,
            self.fail_delivery: 1,
        }

    def step(self) -> None:
        """Do one thing, and remember how far the state topic had been written before."""
        self.ends.append({place: self.broker.log(place).end for place in self.broker.partitions(STATE)})
        super().step()

    def new_bench(self) -> Bench:
        return Bench(
            self.broker,
            limits=LIMITS,
            clock=ManualClock(tick_s=0.01),
            pipeline_factory=build,
            topic=TOPIC,
            state=STATE_LIMITS,
            at_once=False,
        )

    def produce(self) -> None:
        place = self.random.choice(self.places)
        values, start = streams()[place.partition], self.written[place]
        for value in values[start : start + self.random.randrange(1, 120)]:
            self.broker.append(place, StoredRecord(None, value))
            self.written[place] += 1

    def write_snapshot(self) -> None:
        for bench in self.workers:
            bench.writing.run_one()

    def load_snapshot(self) -> None:
        for bench in self.workers:
            bench.reading.run_one()

    def write_late(self) -> None:
        """What a worker began to write before it was killed or lost its partitions may still arrive."""
        if self.gone:
            self.random.choice(self.gone).run_one()

    def impatient(self) -> None:
        for bench in self.some():
            bench.writing.patient = not bench.writing.patient

    def break_snapshot(self) -> None:
        for bench in self.some():
            bench.sink.fail_next(STATE)

    def compact(self) -> None:
        if len(self.ends) > COMPACTION_LAG_STEPS:
            for place, end in self.ends[-COMPACTION_LAG_STEPS].items():
                self.broker.compact(place, end)

    def kill(self) -> None:
        before = set(self.workers)
        super().kill()
        self.gone.extend(bench.writing for bench in before.difference(self.workers))

    def come_to_rest(self) -> list[bytes]:
        """End all faults, write the rest, and let one calm worker finish; gives its final states."""
        self.end_faults()
        for place in self.places:
            for value in streams()[place.partition][self.written[place] :]:
                self.broker.append(place, StoredRecord(None, value))
        last = self.begin()
        last.writing.at_once = last.reading.at_once = True
        ends = {place: len(self.broker.records(place)) for place in self.places}
        last.run_until(lambda: self.broker.committed(GROUP) == ends and last.worker.ready)
        pipelines = [last.worker._assignments.at(place).pipeline for place in self.places]
        last.worker.finish()
        return [state_of(each, ends[place]) for place, each in zip(self.places, pipelines, strict=True)]


def run(seed: int) -> tuple[StateSchedule, list[bytes]]:
    schedule = StateSchedule(seed)
    schedule.start()
    for _ in range(STEPS):
        schedule.step()
    return schedule, schedule.come_to_rest()


@pytest.mark.parametrize("seed", range(60))
def test_events_without_repeats_and_models_are_those_of_an_undisturbed_run(seed: int) -> None:
    schedule, states = run(seed)
    events, calm_states = calm()
    seen: dict[str, bytes] = {}
    for value in delivered(schedule.broker):
        assert value is not None
        assert seen.setdefault(orjson.loads(value)["id"], value) == value, "a repeat is the same to the byte"
    assert seen == events
    assert tuple(states) == calm_states


def test_the_undisturbed_run_has_something_to_say() -> None:
    events, _ = calm()
    assert len(events) >= PARTITIONS * 3 * 2


def test_the_schedules_really_contain_every_fault_and_what_answers_it() -> None:
    done: set[str] = set()
    facts: set[object] = set()
    for seed in range(40):
        schedule, _ = run(seed)
        done.update(schedule.done)
        facts.update(name for bench in schedule.benches for name in bench.observer.names())
    assert {"kill", "stop", "expire", "compact", "write_late", "break_snapshot", "impatient", "outage"} <= done
    assert facts >= {
        *("assigned", "revoked", "lost", "committed", "commit_postponed", "stopped"),
        *("snapshot_written", "snapshot_failed", "restored", "restore_postponed", "replayed"),
    }
