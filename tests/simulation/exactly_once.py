"""Workers with transactions through seeded schedules of crashes, stalls, rebalances, aborts, outages and lost answers.

A crash may come at every named point inside the calls of the sink and of the snapshot store; at the same points the
group, the coordinator or another worker may act. After every step each committed transaction is judged: it must hold
the events and dead letters of exactly the records between the offsets that were committed before and its own, and its
pointer must name a snapshot that is there. At the end, what a reader saw, and every model, must be the calm run's.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np

from detector.batches import TIMESTAMP_UNKNOWN, RecordBatch
from detector.errors import StateLostError, StateUnavailableError, StopWorkerError
from detector.io import MemoryBroker, MemorySnapshotStore, StoredRecord
from detector.io.memory_log import MemoryTransaction, Outcome
from detector.io.memory_snapshots import STORE_POINTS
from detector.io.memory_transactions import BEFORE_COMMIT, BEFORE_OFFSETS, COMMITTED, NO_PRODUCER, SINK_POINTS, Loss
from detector.ports import Committed, TopicPartition
from detector.state import Pointer, parse_pointer
from detector.worker import StateLimits, WorkerLimits
from tests.simulation.base import WORKERS_MAX, Schedule, Step
from tests.simulation.hashing import HashingPipeline
from tests.workers import GROUP, INPUT, STATE, TOPICS, Bench, ManualClock, broker_with

PARTITIONS: Final = 3
EVENTS: Final = TopicPartition(TOPICS.events, 0)
DEAD_LETTERS: Final = TopicPartition(TOPICS.dead_letters, 0)
UPSTREAM: Final = "upstream"
"""Transactional id of who writes the input."""
LIMITS: Final = WorkerLimits(
    batch_records_max=12,
    commit_interval_s=0.5,
    pending_messages_max=30,
    hold_after_s=1.0,
    shutdown_timeout_s=0.6,
    revoke_timeout_s=0.4,
    rejects_ratio_max=1.0,
)
CHUNK_BYTES: Final = (17, 90)
"""Snapshots of more chunks than are sent at once, and of few."""
REST_ROUNDS_MAX: Final = 400
POINTS: Final = (*SINK_POINTS, *STORE_POINTS)
COMMIT_POINTS: Final = (BEFORE_OFFSETS, BEFORE_COMMIT, COMMITTED)
"""Where most can go wrong, and whereto the fewest calls lead."""


class Killed(BaseException):
    """The process of a worker ends at this very instruction."""


class Said(NamedTuple):
    """An event or a dead letter, and the offset of its record."""

    offset: int
    value: bytes | None


class Trap(NamedTuple):
    """What shall happen at a point, after it has been passed so many times."""

    point: str
    passes: int
    act: Callable[[Bench], None]


class CalmRun:
    """What one pipeline says that sees each record of a partition once."""

    def __init__(self, place: TopicPartition) -> None:
        self.pipeline = HashingPipeline(place)
        self.events: list[Said] = []
        self.letters: list[Said] = []
        self.next_offset = 0
        self._place = place

    def read(self, broker: MemoryBroker) -> None:
        """Go on to the end of what is decided."""
        found = broker.log(self._place).read(self.next_offset)
        if not found:
            return
        offsets = [offset for offset, _ in found]
        values = [record.value for _, record in found]
        times = np.full(len(found), TIMESTAMP_UNKNOWN, dtype=np.int64)
        output = self.pipeline.process(RecordBatch(*self._place, np.array(offsets, dtype=np.int64), times, values))
        self.events.extend(said(event.value) for event in output.events)
        self.letters.extend(Said(reject.offset, values[reject.row]) for reject in output.rejects)
        self.next_offset = output.next_offset


def said(value: bytes | None) -> Said:
    """An event with the offset that it names."""
    return Said(int((value or b"").split(b"/")[1]), value)


class Outputs:
    """Events and dead letters by input partition, in the order of their log."""

    def __init__(self) -> None:
        self.events: dict[TopicPartition, list[Said]] = {}
        self.letters: dict[TopicPartition, list[Said]] = {}

    def add(self, home: TopicPartition, record: StoredRecord) -> None:
        """Take one record of an output topic."""
        if home == EVENTS:
            place = TopicPartition(INPUT, int((record.value or b"").split(b"/")[0]))
            self.events.setdefault(place, []).append(said(record.value))
        elif home == DEAD_LETTERS:
            headers = dict(record.headers)
            place = TopicPartition(INPUT, int(headers["detector-partition"] or b""))
            offset = int(headers["detector-offset"] or b"")
            self.letters.setdefault(place, []).append(Said(offset, record.value))


class ExactlyOnceSchedule(Schedule):
    """One run; ``length`` steps, then a rest in which everything must come to its end."""

    def __init__(self, seed: int) -> None:
        broker = broker_with(partitions=PARTITIONS)
        super().__init__(seed, broker, INPUT)
        self.length = self.random.randrange(100, 300)
        self.state_limits = StateLimits(
            interval_s=0.8, on_state_loss="fail", retry_s=0.2, chunk_bytes_max=self.random.choice(CHUNK_BYTES)
        )
        self.calm = {place: CalmRun(place) for place in self.places}
        self.kills = self.stalls = self.aborts_seen = 0
        self.dead: list[Bench] = []
        self.stalled: dict[Bench, int] = {}
        self.traps: dict[Bench, Trap] = {}
        self.late: list[tuple[str, int]] = []
        self.ledger = dict.fromkeys(self.places, 0)
        self.needed: dict[TopicPartition, int] = {}
        self.found: set[TopicPartition] = set()
        self._judged = 0
        self._events_judged = dict.fromkeys(self.places, 0)
        self._letters_judged = dict.fromkeys(self.places, 0)
        self._written = 0
        self._upstream = broker.coordinator.initialise(UPSTREAM)
        self._store = MemorySnapshotStore(broker, topic=STATE, group_id=GROUP)

    def weights(self) -> Mapping[Step, int]:
        return {
            self.turn: 150,
            self.produce: 30,
            self.start: 12,
            self.write_snapshot: 8,
            self.load_snapshot: 8,
            self.crash: 5,
            self.trap: 10,
            self.kill: 1,
            self.session_ends: 8,
            self.transaction_ends: 1,
            self.stall: 2,
            self.expire: 1,
            self.rebalance: 1,
            self.stop: 2,
            self.slow: 6,
            self.outage: 2,
            self.abort: 2,
            self.fail_delivery: 1,
            self.lose_answer: 2,
            self.answer_late: 1,
            self.forget: 1,
            self.wipe: 2,
            self.impatient: 1,
            self.decide_input: 4,
            self.compact: 4,
            self.retain: 3,
        }

    def step(self) -> None:
        """Do one thing, and judge what was committed by it."""
        if not self.broker.available and self.random.random() < 0.15:
            self.broker.available = True
        super().step()
        self.judge()

    def new_bench(self) -> Bench:
        taken = {bench.transactions.transactional_id for bench in self.workers}
        free = [name for name in map("pod-{}".format, range(WORKERS_MAX)) if name not in taken]
        twin = not free or self.random.random() < 0.1
        name = self.random.choice(sorted(taken) if twin and taken else free)
        bench = Bench(
            self.broker,
            limits=LIMITS,
            clock=ManualClock(tick_s=0.01),
            pipeline_factory=HashingPipeline,
            state=self.state_limits,
            at_once=False,
            transactional_id=name,
            reached=lambda point: self.reached(bench, point),
        )
        return bench

    def some(self) -> list[Bench]:
        now = len(self.done)
        awake = [bench for bench in self.workers if self.stalled.get(bench, 0) <= now]
        return self.random.sample(awake, min(1, len(awake)))

    def start(self) -> None:
        """Let a worker join; some never get far."""
        before = len(self.benches)
        super().start()
        if len(self.benches) > before and self.random.random() < 0.2:
            self.traps[self.benches[-1]] = Trap(self.random.choice(POINTS), 0, self.crash_now)

    # What is written

    def produce(self) -> None:
        place = self.random.choice(self.places)
        transaction = None
        if self.random.random() < 0.2:
            transaction = self.broker.coordinator.current(UPSTREAM, self._upstream)
        for _ in range(self.random.randrange(1, 16)):
            self._written += 1
            value: bytes | None = b"%d" % self._written
            chance = self.random.random()
            if chance < 0.15:
                value = None if chance < 0.05 else b"bad %d" % self._written
            self.broker.append(place, StoredRecord(b"key", value), transaction)
        self.calm[place].read(self.broker)

    def decide_input(self) -> None:
        outcome = self.random.choice([Outcome.COMMITTED, Outcome.COMMITTED, Outcome.ABORTED])
        self.broker.coordinator.end(UPSTREAM, self._upstream, outcome)
        for calm in self.calm.values():
            calm.read(self.broker)

    def compact(self) -> None:
        for place in self.broker.partitions(STATE):
            self.broker.compact(place, self.broker.log(place).end)
        for place, committed in self.group.committed.items():
            pointer = parse_pointer(committed.metadata)
            if pointer is not None and not pointer.is_empty:
                self.check_snapshot(place, pointer)

    def retain(self) -> None:
        """Let retention pass everything that nobody needs."""
        for place, offset in self.needed.items():
            self.broker.expire_records(place, offset)

    def wipe(self) -> None:
        """Let an administrator commit the same offset without its pointer, where a snapshot can be found without."""
        place = self.random.choice(self.places)
        if place in self.found:
            self.group.committed[place] = Committed(self.group.committed[place].offset)

    # What happens to workers

    def turn(self) -> None:
        for bench in self.some():
            for _ in range(self.random.randrange(1, 4)):
                for executor in (bench.reading, bench.writing):
                    if bench in self.workers and self.random.random() < 0.5:
                        self.guarded(bench, executor.run_one)
                if bench in self.workers:
                    self.turn_one(bench, self.random.choice([0.0, 0.1, 0.7]))

    def write_snapshot(self) -> None:
        for bench in self.some():
            self.guarded(bench, bench.writing.run_one)

    def load_snapshot(self) -> None:
        for bench in self.some():
            self.guarded(bench, bench.reading.run_one)

    def impatient(self) -> None:
        for bench in self.some():
            bench.writing.patient = not bench.writing.patient

    def kill(self) -> None:
        """End a process between two steps; the group and its transaction notice later."""
        for bench in self.some():
            self.die(bench)

    def crash(self) -> None:
        """End a process at the next or one of the next times that it comes to a point."""
        self.set_trap(self.crash_now)

    def trap(self) -> None:
        """Let something else happen when a worker comes to a point."""
        acts = (self.abort_now, self.expire_now, self.time_out_now, self.let_others_act, self.cut_off_now)
        self.set_trap(self.random.choice(acts))

    def stall(self) -> None:
        """Let a worker do nothing, while the others, the group and the coordinator go on."""
        for bench in self.some():
            self.stalls += 1
            self.stalled[bench] = len(self.done) + self.random.randrange(5, 80)
            if self.random.random() < 0.7:
                self.forget_member(bench)
            if self.random.random() < 0.3:
                self.broker.coordinator.expire(bench.transactions.transactional_id)

    def session_ends(self) -> None:
        """Let the group notice a death."""
        if self.dead:
            self.forget_member(self.dead.pop(self.random.randrange(len(self.dead))))

    def transaction_ends(self) -> None:
        """Let a transaction time out, whoever has it."""
        ids = [name for name in self.broker.coordinator.open_ids() if name != UPSTREAM]
        if ids:
            self.broker.coordinator.expire(self.random.choice(ids))

    def rebalance(self) -> None:
        self.group.rebalance()

    def abort(self) -> None:
        for bench in self.some():
            if bench.transactions.epoch != NO_PRODUCER:
                bench.transactions.demand_abort()

    def lose_answer(self) -> None:
        """Let a commit, applied or not, have no answer or a wrong one; one that was not applied may be later."""
        for bench in self.some():
            loss: Loss = self.random.choice(["no offsets", "applied", "not applied", "denied"])
            if not bench.source.forgets:
                bench.transactions.lose_answer(loss)

    def answer_late(self) -> None:
        """Let a commit take effect whose sender has given up waiting, unless its id was taken meanwhile."""
        while self.late:
            transactional_id, epoch = self.late.pop()
            with suppress(StopWorkerError):
                self.broker.coordinator.end(transactional_id, epoch, Outcome.COMMITTED)

    def forget(self) -> None:
        """Let the coordinator forget what it has told before; what it never told, nobody could miss."""
        for bench in self.some():
            owned = bench.worker._assignments.all()
            if bench.transactions._losing is None:
                bench.source.forgets = {each.place for each in owned if each.was_committed}
            if bench.transactions.epoch != NO_PRODUCER:
                bench.transactions.demand_abort()

    # Points

    def set_trap(self, act: Callable[[Bench], None]) -> None:
        for bench in self.some():
            points = self.random.choice([POINTS, POINTS, COMMIT_POINTS])
            self.traps[bench] = Trap(self.random.choice(points), self.random.randrange(3), act)

    def reached(self, bench: Bench, point: str) -> None:
        """Spring a trap that was set for this point."""
        if point == BEFORE_COMMIT:
            self.check_owner(bench)
        trap = self.traps.get(bench)
        if trap is None or trap.point != point:
            return
        if trap.passes:
            self.traps[bench] = trap._replace(passes=trap.passes - 1)
            return
        del self.traps[bench]
        self.done.append(f"{trap.act.__name__} {point}")
        trap.act(bench)

    def crash_now(self, _bench: Bench) -> None:
        raise Killed

    def abort_now(self, bench: Bench) -> None:
        if bench.transactions.epoch != NO_PRODUCER:
            bench.transactions.demand_abort()

    def expire_now(self, bench: Bench) -> None:
        self.forget_member(bench)

    def time_out_now(self, bench: Bench) -> None:
        self.broker.coordinator.expire(bench.transactions.transactional_id)

    def cut_off_now(self, _bench: Bench) -> None:
        self.broker.available = False

    def let_others_act(self, bench: Bench) -> None:
        """The middle of a call is no shelter: others take turns there."""
        for _ in range(self.random.randrange(1, 6)):
            others = [each for each in self.workers if each is not bench and each not in self.traps]
            if others:
                self.turn_one(self.random.choice(others), 0.7)

    # Ends

    def guarded(self, bench: Bench, act: Step) -> None:
        """Let a worker act as its process would; a death at a point leaves everything as it is."""
        try:
            try:
                act()
            except StateLostError:
                # One that has lost its partitions without knowing may find its snapshot compacted or its input gone.
                assert not self.group.is_member(bench.source), "every fault here leaves a usable snapshot"
                self.leave(bench, StopWorkerError("lost"))
            except StopWorkerError as error:
                if "no answer to a commit" in str(error) and self.random.random() < 0.5:
                    self.late.append((bench.transactions.transactional_id, bench.transactions.epoch))
                    self.die(bench)  # its commit is on the way still
                else:
                    self.leave(bench, error)
        except Killed:
            self.die(bench)

    def leave(self, bench: Bench, error: StopWorkerError) -> None:
        bench.worker.abandon(error)
        self.workers.remove(bench)

    def die(self, bench: Bench) -> None:
        self.kills += 1
        self.workers.remove(bench)
        self.dead.append(bench)

    # Judgement

    def check_owner(self, bench: Bench) -> None:
        """Offsets were taken from a member: nobody else may own their partitions."""
        transaction = self.broker.coordinator.current(bench.transactions.transactional_id, bench.transactions.epoch)
        for place in transaction.offsets[GROUP]:
            assert self.group.owners[place] is bench.source, f"{place} is committed by who does not own it"

    def judge(self) -> None:
        """Compare every transaction that was decided since the last time with the calm run."""
        history = self.broker.coordinator.history
        for transaction in history[self._judged :]:
            if transaction.transactional_id != UPSTREAM:
                self.judge_one(transaction)
        self._judged = len(history)

    def judge_one(self, transaction: MemoryTransaction) -> None:
        outputs = Outputs()
        if transaction.outcome is Outcome.ABORTED:
            self.aborts_seen += sum(home in {EVENTS, DEAD_LETTERS} for home, _ in transaction.records)
            return
        for home, offset in transaction.records:
            if home in {EVENTS, DEAD_LETTERS}:
                ((_, record),) = self.broker.log(home).read(offset, records_max=1, committed_only=False)
                outputs.add(home, record)
        offsets = transaction.offsets.get(GROUP, {})
        assert outputs.events.keys() | outputs.letters.keys() <= offsets.keys(), "events without their offsets"
        for place, committed in offsets.items():
            calm = self.calm[place]
            assert self.ledger[place] <= committed.offset <= calm.next_offset, f"{place}: {committed}"
            events, letters = outputs.events.get(place, []), outputs.letters.get(place, [])
            begin = self._events_judged[place]
            end = self._events_judged[place] = count_before(calm.events, committed.offset, begin)
            assert events == calm.events[begin:end], f"{place}: {events} for {calm.events[begin:end]}"
            begin = self._letters_judged[place]
            end = self._letters_judged[place] = count_before(calm.letters, committed.offset, begin)
            assert letters == calm.letters[begin:end], f"{place}: {letters} for {calm.letters[begin:end]}"
            self.ledger[place] = committed.offset
            self.judge_pointer(place, committed.metadata)

    def judge_pointer(self, place: TopicPartition, metadata: str) -> None:
        pointer = parse_pointer(metadata)
        assert pointer is not None, f"{place}: no pointer in {metadata!r}"
        assert pointer.offset <= self.ledger[place]
        if self.needed.get(place) != pointer.offset and not pointer.is_empty:
            self.found.add(place)
            self.check_snapshot(place, pointer)
        self.needed[place] = pointer.offset

    def check_snapshot(self, place: TopicPartition, pointer: Pointer) -> None:
        """What a committed pointer names must be there, though perhaps behind somebody else's open transaction."""
        available, self.broker.available = self.broker.available, True
        with suppress(StateUnavailableError):
            self._store.read(place, pointer)
        self.broker.available = available

    # Rest

    def come_to_rest(self) -> None:
        """End all faults; whoever lives must bring everything to its end, and their models must be right."""
        self.broker.available = True
        self.traps.clear()
        self.decide_input()
        for bench in self.workers:
            self.calm_down(bench)
        self.work_until_quiet()
        self.check_models()
        for bench in list(self.workers):
            self.guarded(bench, bench.worker.finish)
        self.workers.clear()
        self.work_until_quiet()
        self.check_models()
        self.check_outputs()

    def bury(self) -> None:
        """Let the group and the coordinator notice every death."""
        self.answer_late()
        while self.dead:
            self.session_ends()
        living = {(bench.transactions.transactional_id, bench.transactions.epoch) for bench in self.workers}
        coordinator = self.broker.coordinator
        for name in coordinator.open_ids():
            if (name, coordinator.epoch_of(name)) not in living:  # whoever has the name alone may have been fenced
                coordinator.expire(name)

    def calm_down(self, bench: Bench) -> None:
        bench.sink.acknowledged_max = None
        bench.source.forgets.clear()
        for executor in (bench.writing, bench.reading):
            executor.at_once = executor.patient = True
            for job in executor.jobs:
                job.run()

    def work_until_quiet(self) -> None:
        ends = {place: calm.next_offset for place, calm in self.calm.items() if calm.next_offset}
        for _ in range(REST_ROUNDS_MAX):
            self.bury()
            if not self.workers:
                self.calm_down(self.begin())
            for bench in list(self.workers):
                self.turn_one(bench, 0.7)
            self.judge()
            quiet = all(bench.worker.ready for bench in self.workers) and len(self.group.owners) == PARTITIONS
            if quiet and self.workers and dict(self.broker.committed(GROUP)) == ends:
                return
        raise AssertionError(f"not quiet: {dict(self.broker.committed(GROUP))} of {ends}")

    def check_models(self) -> None:
        for bench in self.workers:
            for partition in bench.worker._assignments.all():
                pipeline = partition.pipeline
                assert isinstance(pipeline, HashingPipeline)
                assert pipeline.state == self.calm[partition.place].pipeline.state, f"{partition.place}: other models"

    def check_outputs(self) -> None:
        outputs = Outputs()
        for home in (EVENTS, DEAD_LETTERS):
            for record in self.broker.records(home):
                outputs.add(home, record)
        for place, calm in self.calm.items():
            assert outputs.events.get(place, []) == calm.events, f"{place}: other events"
            assert outputs.letters.get(place, []) == calm.letters, f"{place}: other dead letters"


def count_before(all_said: list[Said], offset: int, begin: int) -> int:
    """How many of ``all_said``, of which ``begin`` are known to be, lie before ``offset``."""
    while begin < len(all_said) and all_said[begin].offset < offset:
        begin += 1
    return begin


def run(seed: int) -> ExactlyOnceSchedule:
    """Go through one schedule; raises ``AssertionError`` where anything differs from the calm run."""
    schedule = ExactlyOnceSchedule(seed)
    schedule.begin()
    for _ in range(schedule.length):
        schedule.step()
    schedule.come_to_rest()
    return schedule
