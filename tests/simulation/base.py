"""What every schedule has: workers of one group, ordinary turns, and faults; each choice comes from the seed."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import accumulate

from detector.errors import StateLostError, StopWorkerError
from detector.io import MemoryBroker
from tests.workers import GROUP, Bench

Step = Callable[[], None]

WORKERS_MAX = 3


class Schedule(ABC):
    """One run. ``workers`` live, ``benches`` are all that ever did, ``done`` names the steps."""

    def __init__(self, seed: int, broker: MemoryBroker, topic: str) -> None:
        self.random = random.Random(seed)
        self.broker = broker
        self.places = broker.partitions(topic)
        self.group = broker.group(GROUP)
        self.workers: list[Bench] = []
        self.benches: list[Bench] = []
        self.done: list[str] = []
        weights = self.weights()
        self._choices, self._weights = list(weights), list(accumulate(weights.values()))

    @abstractmethod
    def weights(self) -> Mapping[Step, int]:
        """Every step with how often it shall come."""

    @abstractmethod
    def new_bench(self) -> Bench:
        """A worker that has not joined yet."""

    def step(self) -> None:
        """Do one thing."""
        (choice,) = self.random.choices(self._choices, cum_weights=self._weights)
        self.done.append(choice.__name__)
        choice()

    def begin(self) -> Bench:
        """Let a new worker join."""
        bench = self.new_bench()
        self.workers.append(bench)
        self.benches.append(bench)
        bench.worker.begin()
        return bench

    def some(self) -> list[Bench]:
        """One worker that can act, if there is any."""
        return self.random.sample(self.workers, min(1, len(self.workers)))

    def turn(self) -> None:
        for bench in self.some():
            self.turn_one(bench, self.random.choice([0.0, 0.1, 0.7]))

    def turn_one(self, bench: Bench, advance_s: float) -> None:
        """Let time pass, and the loop of one worker turn."""
        self.guarded(bench, lambda: bench.turn(advance_s=advance_s))

    def start(self) -> None:
        if len(self.workers) < WORKERS_MAX:
            self.begin()

    def slow(self) -> None:
        for bench in self.some():
            bench.sink.acknowledged_max = self.random.choice([0, 1, 5, None, None])

    def outage(self) -> None:
        self.broker.available = not self.broker.available

    def stop(self) -> None:
        for bench in self.some():
            self.guarded(bench, bench.worker.finish)
            if bench in self.workers:
                self.workers.remove(bench)

    def kill(self) -> None:
        for bench in self.some():
            self.workers.remove(bench)
            self.forget_member(bench)

    def expire(self) -> None:
        for bench in self.some():
            self.forget_member(bench)

    def fail_delivery(self) -> None:
        for bench in self.some():
            bench.sink.fail_next()

    def forget_member(self, bench: Bench) -> None:
        """Let the group give a silent member's partitions away."""
        if self.group.is_member(bench.source):
            bench.source.expire()

    def guarded(self, bench: Bench, act: Step) -> None:
        """Let a worker act as ``run`` would: what it raises ends it."""
        try:
            act()
        except StateLostError:
            raise  # whether that may be, the schedule knows
        except StopWorkerError as error:
            bench.worker.abandon(error)
            self.workers.remove(bench)

    def end_faults(self) -> None:
        """Make the brokers answer again, and let every worker stop in order."""
        self.broker.available = True
        for bench in list(self.workers):
            bench.sink.acknowledged_max = None
            self.guarded(bench, bench.worker.finish)
        self.workers.clear()
