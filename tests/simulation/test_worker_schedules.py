"""Workers of one group through seeded schedules of rebalances, outages, failures, kills and stops.

After every step: no partition has two owners, and no offset is committed before the effect of every record below it was
delivered. At the end, after one calm worker: every record's effect was delivered at least once, and everything is
committed.
"""

import random
from collections.abc import Callable
from typing import Final

import pytest

from detector.errors import StopWorkerError
from detector.io import MemoryBroker
from detector.ports import TopicPartition
from detector.worker import WorkerLimits
from tests.workers import GROUP, INPUT, TOPICS, Bench, ManualClock, broker_with, delivered, write

PARTITIONS: Final = 4
STEPS: Final = 150
WORKERS_MAX: Final = 3
LIMITS: Final = WorkerLimits(
    batch_records_max=7, pending_messages_max=10, hold_after_s=1.0, commit_interval_s=0.5, rejects_ratio_max=1.0
)


class Schedule:
    """One run; every choice comes from the seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.broker: MemoryBroker = broker_with(partitions=PARTITIONS)
        self.places = self.broker.partitions(INPUT)
        self.workers: list[Bench] = []
        self.done: list[str] = []

    def step(self) -> None:
        """Do one thing, mostly an ordinary turn."""
        choices = {
            self.turn: 60,
            self.produce: 15,
            self.start: 5,
            self.slow: 8,
            self.outage: 3,
            self.stop: 3,
            self.kill: 2,
            self.expire: 2,
            self.fail_delivery: 2,
        }
        (choice,) = self.random.choices(list(choices), list(choices.values()))
        self.done.append(choice.__name__)
        choice()
        self.check()

    def turn(self) -> None:
        if self.workers:
            bench = self.random.choice(self.workers)
            self.guarded(bench, lambda: bench.turn(advance_s=self.random.choice([0.0, 0.1, 0.7])))

    def produce(self) -> None:
        values = [self.random.choice([b"good", b"bad", None]) for _ in range(self.random.randrange(1, 20))]
        write(self.broker, values, partition=self.random.randrange(PARTITIONS))

    def start(self) -> None:
        if len(self.workers) < WORKERS_MAX:
            bench = Bench(self.broker, limits=LIMITS, clock=ManualClock(tick_s=0.01))
            bench.worker.begin()
            self.workers.append(bench)

    def slow(self) -> None:
        if self.workers:
            self.random.choice(self.workers).sink.acknowledged_max = self.random.choice([0, 1, 5, None])

    def outage(self) -> None:
        self.broker.available = not self.broker.available

    def stop(self) -> None:
        if self.workers:
            bench = self.random.choice(self.workers)
            self.guarded(bench, bench.worker.finish)
            if bench in self.workers:
                self.workers.remove(bench)

    def kill(self) -> None:
        if self.workers:
            bench = self.workers.pop(self.random.randrange(len(self.workers)))
            if self.broker.group(GROUP).is_member(bench.source):
                bench.source.expire()

    def expire(self) -> None:
        if self.workers:
            bench = self.random.choice(self.workers)
            if self.broker.group(GROUP).is_member(bench.source):
                bench.source.expire()

    def fail_delivery(self) -> None:
        if self.workers:
            self.random.choice(self.workers).sink.fail_next()

    def guarded(self, bench: Bench, act: Callable[[], None]) -> None:
        """Let a worker act as ``run`` would: what it raises ends it."""
        try:
            act()
        except StopWorkerError as error:
            bench.worker.abandon(error)
            self.workers.remove(bench)

    def effects(self) -> dict[TopicPartition, set[int]]:
        """Offsets whose event or dead letter was delivered, per partition."""
        effects: dict[TopicPartition, set[int]] = {place: set() for place in self.places}
        for value in delivered(self.broker):
            partition, offset = map(int, (value or b"").split(b"/"))
            effects[TopicPartition(INPUT, partition)].add(offset)
        for letter in self.broker.records(TopicPartition(TOPICS.dead_letters, 0)):
            headers = dict(letter.headers)
            partition, offset = (int(headers[name] or b"") for name in ("detector-partition", "detector-offset"))
            effects[TopicPartition(INPUT, partition)].add(offset)
        return effects

    def check(self) -> None:
        effects = self.effects()
        for place, committed in self.broker.committed(GROUP).items():
            assert effects[place].issuperset(range(committed)), (place, committed)
        members = [bench for bench in self.workers if self.broker.group(GROUP).is_member(bench.source)]
        owned = [place for bench in members for place in bench.source.lags()]
        assert len(owned) == len(set(owned)), owned

    def come_to_rest(self) -> None:
        """End all faults and let one calm worker finish."""
        self.broker.available = True
        for bench in list(self.workers):
            bench.sink.acknowledged_max = None
            self.guarded(bench, bench.worker.finish)
        self.workers.clear()
        self.start()
        (last,) = self.workers
        ends = {place: len(self.broker.records(place)) for place in self.places if self.broker.records(place)}
        last.run_until(lambda: self.broker.committed(GROUP) == ends)
        last.worker.finish()


@pytest.mark.parametrize("seed", range(60))
def test_every_record_has_its_effect_and_no_commit_comes_before_it(seed: int) -> None:
    schedule = Schedule(seed)
    schedule.start()
    for _ in range(STEPS):
        schedule.step()
    schedule.come_to_rest()
    effects = schedule.effects()
    assert {place: len(found) for place, found in effects.items()} == {
        place: len(schedule.broker.records(place)) for place in schedule.places
    }


def test_the_schedules_really_contain_every_fault() -> None:
    done: set[str] = set()
    facts: set[object] = set()
    for seed in range(40):
        schedule = Schedule(seed)
        schedule.start()
        benches = []
        for _ in range(STEPS):
            schedule.step()
            benches.extend(schedule.workers)
        done.update(schedule.done)
        facts.update(name for bench in benches for name in bench.observer.names())
    assert done == {"turn", "produce", "start", "slow", "outage", "stop", "kill", "expire", "fail_delivery"}
    assert facts >= {"assigned", "revoked", "lost", "committed", "commit_postponed", "held", "released", "stopped"}


def test_the_same_seed_gives_the_same_run() -> None:
    runs = []
    for _ in range(2):
        schedule = Schedule(7)
        schedule.start()
        for _ in range(STEPS):
            schedule.step()
        runs.append((schedule.done, delivered(schedule.broker), schedule.broker.committed(GROUP)))
    assert runs[0] == runs[1]
