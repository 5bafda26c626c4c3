"""Workers of one group through seeded schedules of rebalances, outages, failures, kills and stops.

After every step: no partition has two owners, and no offset is committed before the effect of every record below it was
delivered. At the end, after one calm worker: every record's effect was delivered at least once, and everything is
committed.
"""

from collections.abc import Mapping
from typing import Final

import pytest

from detector.ports import TopicPartition
from detector.worker import WorkerLimits
from tests.simulation.base import Schedule, Step
from tests.workers import GROUP, INPUT, TOPICS, Bench, ManualClock, broker_with, delivered, write

PARTITIONS: Final = 4
STEPS: Final = 150
LIMITS: Final = WorkerLimits(
    batch_records_max=7, pending_messages_max=10, hold_after_s=1.0, commit_interval_s=0.5, rejects_ratio_max=1.0
)


class WorkerSchedule(Schedule):
    """One run; every choice comes from the seed."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, broker_with(partitions=PARTITIONS), INPUT)

    def weights(self) -> Mapping[Step, int]:
        return {
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

    def step(self) -> None:
        """Do one thing, and look at everything."""
        super().step()
        self.check()

    def new_bench(self) -> Bench:
        return Bench(self.broker, limits=LIMITS, clock=ManualClock(tick_s=0.01))

    def produce(self) -> None:
        values = [self.random.choice([b"good", b"bad", None]) for _ in range(self.random.randrange(1, 20))]
        write(self.broker, values, partition=self.random.randrange(PARTITIONS))

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
        members = [bench for bench in self.workers if self.group.is_member(bench.source)]
        owned = [place for bench in members for place in bench.source.lags()]
        assert len(owned) == len(set(owned)), owned

    def come_to_rest(self) -> None:
        """End all faults and let one calm worker finish."""
        self.end_faults()
        last = self.begin()
        ends = {place: len(self.broker.records(place)) for place in self.places if self.broker.records(place)}
        last.run_until(lambda: self.broker.committed(GROUP) == ends)
        last.worker.finish()


@pytest.mark.parametrize("seed", range(60))
def test_every_record_has_its_effect_and_no_commit_comes_before_it(seed: int) -> None:
    schedule = WorkerSchedule(seed)
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
        schedule = WorkerSchedule(seed)
        schedule.start()
        for _ in range(STEPS):
            schedule.step()
        done.update(schedule.done)
        facts.update(name for bench in schedule.benches for name in bench.observer.names())
    assert done == {"turn", "produce", "start", "slow", "outage", "stop", "kill", "expire", "fail_delivery"}
    assert facts >= {"assigned", "revoked", "lost", "committed", "commit_postponed", "held", "released", "stopped"}


def test_the_same_seed_gives_the_same_run() -> None:
    runs = []
    for _ in range(2):
        schedule = WorkerSchedule(7)
        schedule.start()
        for _ in range(STEPS):
            schedule.step()
        runs.append((schedule.done, delivered(schedule.broker), schedule.broker.committed(GROUP)))
    assert runs[0] == runs[1]
