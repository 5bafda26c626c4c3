"""``make chaos``: workers killed at named points and at random moments, beside everything else that goes wrong.

Two workers, sometimes three, on a cluster of three nodes. Every life of a worker ends by kill -9: at a named point
(:mod:`tests.kafka.faults`), at a random moment, or after it stood still for longer than its session; some end in order.
Now and then the leader or a coordinator of the cluster is killed, too, and comes back. At the end what was said and
what is remembered must be what a calm worker says and remembers, to the bit.

The last line is JSON. Exit code 3: something differs, or fewer kills happened than were asked for.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final

from confluent_kafka import KafkaException

from tests.kafka.cluster import NODES, ClusterOfJars, running_cluster
from tests.kafka.faults import POINTS, Fault
from tests.kafka.inputs import Feeder
from tests.kafka.outcome import aborted, differences, expected, outcome
from tests.kafka.workers import Stage, WorkerRun, until

PARTITIONS: Final = 4
SHARE_RECORDS: Final = 600
"""Per kill and partition: every life has something to do, and the input ends soon after the last one."""
KEEPING: Final[dict[str, dict[str, object]]] = {
    "kafka": {"session_timeout_ms": 1_500, "librdkafka": {"socket.timeout.ms": 5_000}},
    "worker": {"batch_records_max": 100, "commit_interval_s": 0.1},
    "state": {"interval_s": 0.5, "on_state_loss": "fail"},
    "delivery": {"transaction_timeout_s": 8},
}
LIFE_S: Final = 15.0
"""A point that was not reached by then is missed, and the life ends at a random moment."""
TURN_S: Final = 0.05
STORY_S: Final = 5.0
NODE_PAUSE_S: Final = (4.0, 12.0)
NODE_AWAY_S: Final = (0.5, 5.0)
FINAL_S: Final = 120.0
GATE_FAILED: Final = 3
EXTRA_KINDS: Final = ("random", "random", "random", "stopped", "zombie", "term")
"""Besides the named points. ``stopped``: SIGSTOP past the session's end, SIGCONT, kill; ``zombie``: the same with an
open transaction whose offsets were sent; ``term``: SIGTERM, no kill."""


@dataclass
class Tally:
    """What came of one kind of end."""

    lives: int = 0
    kills: int = 0
    missed: int = 0
    aborts: int = 0
    restored: int = 0
    replayed: int = 0


@dataclass
class Life:
    """One process from its start to its end, and what is still to be done to it."""

    name: str
    kind: str
    run: WorkerRun
    acts: list[tuple[float, str]]
    """When to do what to it (seconds after its loop began), in order."""
    began_s: float | None = None
    missed: bool = False

    def age_s(self) -> float:
        """Since its loop began, which it tells."""
        if self.began_s is None and self.run.log("worker_started"):
            self.began_s = time.monotonic()
        return 0.0 if self.began_s is None else time.monotonic() - self.began_s


@dataclass
class Report:
    """Everything counted."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    kills: int = 0
    rebalances: int = 0
    node_kills: int = 0
    exits: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def of(self, kind: str) -> Tally:
        """The row of one kind."""
        return self.tallies.setdefault(kind, Tally())


class Chaos:
    """The one who kills."""

    def __init__(self, stage: Stage, *, kills: int, chance: random.Random, ends_s: float) -> None:
        self.report = Report()
        self._stage = stage
        self._settings = stage.settings(**KEEPING)
        self._kills = kills
        self._chance = chance
        self._ends_s = ends_s
        self._began_s = time.monotonic()
        self._kinds: list[str] = []
        self._lives: dict[str, Life | float] = {"pod-0": 0.0, "pod-1": 0.0}
        """The life of each pod, or when the next one begins."""
        self._third_s = self._began_s + 5.0
        self._told_s = 0.0
        self._numbers = 0

    @property
    def settings(self) -> Path:
        """Of every worker."""
        return self._settings

    def rage(self) -> None:
        """Let workers live and die until there were enough kills, or the time is over."""
        while self.report.kills < self._kills and time.monotonic() < self._ends_s:
            self._third()
            for pod in list(self._lives):
                self._turn(pod)
            self._tell()
            time.sleep(TURN_S)
        for pod, life in self._lives.items():
            if isinstance(life, Life):
                life.run.killed()
                self._bury(pod, life)

    def _third(self) -> None:
        """Now and then a third worker comes, and stays away after its life."""
        moment_s = time.monotonic()
        if moment_s >= self._third_s and "pod-2" not in self._lives:
            self._lives["pod-2"] = moment_s
            self._third_s = moment_s + self._chance.uniform(10, 20)

    def _turn(self, pod: str) -> None:
        life, moment_s = self._lives[pod], time.monotonic()
        if isinstance(life, float):
            if moment_s >= life:
                self._lives[pod] = self._begin(pod)
        elif not life.run.runs():
            self._bury(pod, life)
            if pod == "pod-2":
                del self._lives[pod]
            else:
                self._lives[pod] = moment_s + self._chance.uniform(0, 0.5)
        elif life.acts and life.age_s() >= life.acts[0][0]:
            self._act(life, life.acts.pop(0)[1])

    def _begin(self, pod: str) -> Life:
        if not self._kinds:
            self._kinds = [*POINTS, *EXTRA_KINDS]
            self._chance.shuffle(self._kinds)
        kind, chance = self._kinds.pop(), self._chance
        self._numbers += 1
        name = f"{self._numbers}"
        fault = Fault(kind if kind in POINTS else "", self._count(kind), life=name)
        acts = [(LIFE_S, "miss")]
        if kind == "random":
            acts = [(chance.uniform(0.0, 4.0), "kill")]
        elif kind in {"before_flush", "term"}:
            acts = [(chance.uniform(0.5, 4.0), "term"), (30.0, "miss")]
        elif kind in {"stopped", "zombie"}:
            stop_s = chance.uniform(1.0, 4.0)
            on_s = stop_s + chance.uniform(1.0, 4.0)
            acts = [(stop_s, "stop"), (on_s, "go on"), (on_s + chance.uniform(0.5, 3.0), "kill")]
            if kind == "zombie":
                fault = fault._replace(point="after_send_offsets", signal="STOP")
                acts = acts[1:]
        self.report.kinds[name] = kind
        self.report.of(kind).lives += 1
        return Life(name, kind, WorkerRun(self._settings, pod=pod, fault=fault, forked=True), acts)

    def _count(self, kind: str) -> int:
        often = kind not in {"in_probe", "after_init", "before_flush", "in_revoke"}
        return self._chance.randint(1, 4) if often else 1

    @staticmethod
    def _act(life: Life, act: str) -> None:
        if act == "stop":
            life.run.signal(signal.SIGSTOP)
        elif act == "go on":
            life.run.signal(signal.SIGCONT)
        elif act == "term":
            life.run.signal(signal.SIGTERM)
        else:
            life.missed = act == "miss"
            life.run.signal(signal.SIGKILL)

    def _bury(self, pod: str, life: Life) -> None:
        """Count what came of a life that has ended."""
        tally, code = self.report.of(life.kind), life.run.exit_code()
        restored = life.run.log("partition_restored")
        tally.restored += len(restored)
        tally.replayed += sum(line["replay_until"] - line["offset"] for line in restored)
        tally.missed += life.missed
        self.report.rebalances += len(life.run.log("partitions_assigned"))
        if code == -signal.SIGKILL:
            tally.kills += 1
            self.report.kills += 1
        elif code != 0:
            last = life.run.output().rstrip().rpartition("\n")[2]
            self.report.exits[last[:200]] += 1
            print(f"{pod} ({life.kind}) ended with {code}: {last}", flush=True)
        if "Traceback" in life.run.output() or life.run.log("state_lost"):
            self.report.faults.append(f"{pod} ({life.kind}): {life.run.output()[-2000:]}")

    def _tell(self) -> None:
        moment_s = time.monotonic()
        if moment_s < self._told_s + STORY_S:
            return
        self._told_s = moment_s
        alive = " ".join(
            f"{pod}:{life.kind if isinstance(life, Life) else '-'}" for pod, life in sorted(self._lives.items())
        )
        print(
            f"{moment_s - self._began_s:5.0f} s  kills {self.report.kills}/{self._kills}  "
            f"rebalances {self.report.rebalances}  node kills {self.report.node_kills}  {alive}",
            flush=True,
        )


def finish(stage: Stage, settings: Path) -> None:
    """Let two undisturbed workers come to the end of the input and stop in order, one after the other.

    A third one, alone, then takes the last snapshots: a stop while the group still moves may have to give up its own.
    """
    with WorkerRun(settings, forked=True) as first, WorkerRun(settings, pod="pod-1", forked=True) as second:
        until(lambda: first.ready() and second.ready(), "both are ready", deadline_s=FINAL_S)
        stage.until_committed(second)
        for worker in (first, second):
            code = worker.stopped()
            assert code == 0, f"exit code {code}: {worker.output()}"
    with WorkerRun(settings, forked=True) as last:
        until(last.ready, "the last one is ready", deadline_s=FINAL_S)
        assert last.stopped() == 0, last.output()


def judge(stage: Stage, settings: Path) -> list[str]:
    """What differs from a calm worker, and from the pipeline alone."""
    ours = outcome(stage, settings)
    print(f"{ours.event_count()} events, {len(ours.dead_letters)} dead letters, {len(ours.states)} states", flush=True)
    twin = stage.calm_twin()
    calm_settings = twin.settings(kafka={"group_id": twin.group})
    with WorkerRun(calm_settings, forked=True) as worker:
        twin.until_committed(worker)
        assert worker.stopped() == 0, worker.output()
    found = [f"calm worker: {each}" for each in differences(ours, outcome(twin, calm_settings))]
    return found + [f"pipeline alone: {each}" for each in differences(ours, expected(stage, settings))]


def table(report: Report) -> str:
    """A row per kind of end."""
    lines = [f"{'end':<20}{'lives':>6}{'kills':>6}{'missed':>7}{'aborts seen':>12}{'restored':>9}{'replayed':>9}"]
    lines += [
        f"{kind:<20}{row.lives:>6}{row.kills:>6}{row.missed:>7}{row.aborts:>12}{row.restored:>9}{row.replayed:>9}"
        for kind, row in sorted(report.tallies.items())
    ]
    return "\n".join(lines)


class Nodes:
    """Kills leaders and coordinators of the cluster, one at a time, and brings them back."""

    def __init__(self, cluster: ClusterOfJars, stage: Stage, report: Report, chance: random.Random) -> None:
        self._cluster = cluster
        self._stage = stage
        self._report = report
        self._chance = chance
        self._ended = Event()
        self._done = Event()
        self._thread = Thread(target=self._live, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, with all nodes alive and in sync."""
        self._ended.set()
        self._done.wait()
        self._cluster.heal()

    def _live(self) -> None:
        """Kill, then stay: nodes die with the thread that started them."""
        try:
            self._kill()
        finally:
            self._done.set()
        Event().wait()

    def _kill(self) -> None:
        while not self._ended.wait(self._chance.uniform(*NODE_PAUSE_S)):
            try:
                node, why = self._victim()
            except KafkaException as error:
                print(f"        no answer about leaders: {error}", flush=True)
                continue
            self._cluster.kill(node)
            self._report.node_kills += 1
            print(f"        node {node} killed, {why}", flush=True)
            self._ended.wait(self._chance.uniform(*NODE_AWAY_S))
            self._cluster.restart(node)
            self._cluster.wait_until_in_sync()

    def _victim(self) -> tuple[int, str]:
        stage, partition = self._stage, self._chance.randrange(PARTITIONS)
        choice = self._chance.randrange(5)
        if choice == 0:
            return self._cluster.leader_of(stage.input, partition), f"leader of input {partition}"
        if choice == 1:
            return self._cluster.leader_of(stage.events, 0), "leader of events"
        if choice == 2:
            return self._cluster.leader_of(stage.state, partition), f"leader of state {partition}"
        if choice == 3:
            return self._cluster.coordinator_of(stage.group), "coordinator of the group"
        pod = self._chance.choice(("pod-0", "pod-1"))
        return self._cluster.transaction_coordinator_of(stage.transactional_id(pod)), f"coordinator of {pod}"


def run(kills: int, seed: int, seconds_max: float, folder: Path) -> tuple[Report, list[str]]:
    """Everything from the first node to the verdict."""
    chance = random.Random(seed)
    with running_cluster() as cluster:
        stage = Stage(cluster.bootstrap_servers, folder, partitions=PARTITIONS, replicas=len(NODES))
        chaos = Chaos(stage, kills=kills, chance=chance, ends_s=time.monotonic() + seconds_max)
        report = chaos.report
        feeder = Feeder(stage, seed=seed, records_max=lambda: (report.kills + 5) * SHARE_RECORDS)
        nodes = Nodes(cluster, stage, chaos.report, random.Random(seed + 1))
        with feeder:
            nodes.start()
            chaos.rage()
            nodes.stop()
        print(f"enough: {PARTITIONS * feeder.records} records, now in peace to their end", flush=True)
        try:
            finish(stage, chaos.settings)
            found = judge(stage, chaos.settings)
        except AssertionError as error:
            found = [str(error)]
        for life, records in aborted(stage).items():
            if records:
                chaos.report.of(chaos.report.kinds.get(life, "the end")).aborts += 1
    return chaos.report, [*chaos.report.faults, *found]


def main() -> int:
    """Run, print the table and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="limit; fewer kills by then are a failure")
    options = parser.parse_args()
    began_s = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an interruption takes nodes and workers with it
    folder = Path(tempfile.mkdtemp(prefix="detector-chaos-"))
    report, found = run(options.kills, options.seed, 60 * options.minutes, folder)
    print(f"\n{table(report)}\n")
    for last, count in report.exits.most_common():
        print(f"{count} x ended by itself: {last}")
    for each in found:
        print(f"DIFFERENCE {each}")
    if found:
        print(f"the logs of all workers: {folder}")
    else:
        shutil.rmtree(folder)
    verdict = {
        "kills": report.kills,
        "rebalances": report.rebalances,
        "aborts_seen": sum(row.aborts for row in report.tallies.values()),
        "differences": len(found),
        "node_kills": report.node_kills,
        "seconds": round(time.monotonic() - began_s, 1),
        "seed": options.seed,
    }
    print(json.dumps(verdict), flush=True)
    return GATE_FAILED if found or report.kills < options.kills else 0


if __name__ == "__main__":
    sys.exit(main())
