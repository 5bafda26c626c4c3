"""What may happen to workers, on real Apache Kafka: rows 1 to 7 and 11 of docs/failures.md.

Each test ends with one question: are events, dead letters and final states those of the pipeline alone, to the bit?
And where it is about transactions: did a read_uncommitted reader see what was aborted?
"""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.kafka.broker import Broker
from tests.kafka.faults import POINTS, Fault
from tests.kafka.inputs import Feeder
from tests.kafka.outcome import aborted, differences, expected, outcome, same
from tests.kafka.workers import Stage, WorkerRun, until

pytestmark = pytest.mark.kafka

KEEPING: Final[dict[str, dict[str, object]]] = {
    "kafka": {"session_timeout_ms": 1_000},
    "worker": {"batch_records_max": 100, "commit_interval_s": 0.05},
    "state": {"interval_s": 0.4, "on_state_loss": "fail"},
}
RECORDS: Final = 600
"""Per partition and life."""
GRACE_S: Final = 15.0
KILLED: Final = -signal.SIGKILL
SPEAKING_POINTS: Final = {
    "after_first_send",
    "before_send_offsets",
    "after_send_offsets",
    "before_commit",
    "in_abort",
    "in_snapshot_chunks",
}
"""Points at which messages of an open transaction have reached their brokers."""


def finish(stage: Stage, settings: Path, *, pod: str = "pod-0") -> None:
    """Let an undisturbed worker come to the end of the input and stop in order."""
    with WorkerRun(settings, pod=pod, forked=True) as worker:
        until(worker.ready, "the worker is ready")
        stage.until_committed(worker)
        assert worker.stopped() == 0, worker.output()


@contextmanager
def standing_still(settings: Path, point: str) -> Iterator[WorkerRun]:
    """A worker that stands still (SIGSTOP) in its third transaction at ``point``."""
    with WorkerRun(settings, fault=Fault(point, 3, "STOP", life="zombie"), forked=True) as zombie:
        zombie.until_logged("fault_reached")
        until(zombie.stands_still, "SIGSTOP")
        yield zombie


def test_the_pipeline_alone_says_and_remembers_what_a_calm_worker_does(kafka: Broker, tmp_path: Path) -> None:
    stage = Stage(kafka.bootstrap_servers, tmp_path)
    Feeder(stage).write(4 * RECORDS)
    settings = stage.settings(**KEEPING)
    finish(stage, settings)
    ours = outcome(stage, settings)
    assert ours.event_count() >= 10
    assert len(ours.dead_letters) >= 40
    assert all(len(each.columns) >= 10 for each in ours.states.values())
    assert differences(ours, expected(stage, settings)) == []
    assert aborted(stage).total() == 0


@pytest.mark.chaos
class TestRow1KilledAtRandomMoments:
    def test_it_says_and_remembers_what_a_calm_worker_does(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        # A transaction is open nearly all the time.
        settings = stage.settings(**KEEPING | {"worker": {"batch_records_max": 100, "commit_interval_s": 0.5}})
        chance = random.Random(1)
        with Feeder(stage):
            for life in range(6):
                before = sum(stage.committed())
                with WorkerRun(settings, fault=Fault(life=f"{life}"), forked=True) as worker:
                    worker.until_logged("partitions_assigned")
                    if life % 2:  # the others die on their way
                        until(lambda before=before: sum(stage.committed()) > before, "a commit")  # type: ignore[misc]
                    time.sleep(chance.uniform(0.0, 1.0))
                    worker.killed()
        finish(stage, settings)
        same(stage, settings)
        assert aborted(stage).total() > 0


class TestRow2KilledAtNamedPoints:
    def test_it_says_and_remembers_what_a_calm_worker_does(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        settings = stage.settings(**KEEPING)
        seldom = stage.settings(**KEEPING | {"state": {"interval_s": 3_600, "on_state_loss": "fail"}})
        feeder = Feeder(stage)
        feeder.write(RECORDS)
        finish(stage, settings)
        for point in POINTS:
            if point == "in_revoke":
                continue  # takes two: below
            feeder.write(RECORDS)
            if point == "in_replay":  # commits beyond the last snapshot
                with WorkerRun(seldom, forked=True) as worker:
                    stage.until_committed(worker)
                    worker.killed()
            with WorkerRun(settings, fault=Fault(point, life=point), forked=True) as worker:
                if point == "before_flush":
                    stage.until_committed(worker)
                    worker.signal(signal.SIGTERM)
                assert worker.ended() == KILLED, f"{point}: {worker.output()}"
                assert worker.log("fault_reached"), point
        finish(stage, settings)
        same(stage, settings)
        assert set(aborted(stage)) >= SPEAKING_POINTS


class TestRow3StandingStillPastTheSession:
    """A rival takes over while the worker stands still in the middle of a transaction."""

    @pytest.mark.chaos
    def test_shorter_than_a_transaction_may_take_it_aborts_and_goes_on(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        settings = stage.settings(**KEEPING)
        Feeder(stage).write(4 * RECORDS)
        with standing_still(settings, "after_first_send") as zombie:
            with WorkerRun(settings, pod="pod-1", forked=True) as rival:
                until(rival.ready, "the rival has taken over")
                zombie.resumed()
                zombie.until_logged("transaction_aborted")
                stage.until_committed(rival)
                assert rival.stopped() == 0, rival.output()
            stage.until_committed(zombie)
            assert zombie.stopped() == 0, zombie.output()
        same(stage, settings)
        assert aborted(stage)["zombie"] > 0

    @pytest.mark.chaos
    def test_longer_than_that_the_brokers_abort_first(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        settings = stage.settings(**KEEPING, delivery={"transaction_timeout_s": 3})
        feeder = Feeder(stage)
        feeder.write(4 * RECORDS)
        with standing_still(settings, "after_first_send") as zombie:
            with WorkerRun(settings, pod="pod-1", forked=True) as rival:
                stage.until_committed(rival)
                until(lambda: bool(aborted(stage)["zombie"]), "the brokers abort the zombie's transaction")
                zombie.resumed()
                until(lambda: not zombie.runs() or bool(zombie.log("transaction_aborted")), "it wakes up")
                assert rival.stopped() == 0, rival.output()
            # It learns first of the session or of its transaction: then it goes on, or ends for a new process to do so.
            if zombie.log("transaction_aborted"):
                until(zombie.ready, "it has all partitions again")
                assert zombie.stopped() == 0, zombie.output()
            else:
                assert_ends_fenced(zombie)
        feeder.write(RECORDS)
        finish(stage, settings)
        same(stage, settings)


@pytest.mark.chaos
class TestRow4StandingStillWithOffsetsSent:
    def test_the_rival_waits_until_they_are_decided(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        settings = stage.settings(**KEEPING, delivery={"transaction_timeout_s": 6})
        Feeder(stage).write(4 * RECORDS)
        with (
            standing_still(settings, "after_send_offsets") as zombie,
            WorkerRun(settings, pod="pod-1", forked=True) as rival,
        ):
            until(rival.ready, "the rival has taken over")
            assert aborted(stage)["zombie"] > 0, "nobody may begin before the brokers have decided"
            zombie.resumed()
            assert_ends_fenced(zombie)
            stage.until_committed(rival)
            assert rival.stopped() == 0, rival.output()
        same(stage, settings)


def assert_ends_fenced(worker: WorkerRun) -> None:
    """It ends by itself, with a line that names the reason."""
    assert worker.ended() == 1, worker.output()
    assert "Traceback" not in worker.output()
    last = worker.output().rstrip().rpartition("\n")[2]
    assert "fenced" in last.lower() or "epoch" in last.lower(), last


class TestRow5TwoOfOneName:
    def test_the_older_one_ends_and_says_why(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        settings = stage.settings(**KEEPING)
        with Feeder(stage) as feeder, WorkerRun(settings, fault=Fault(life="older"), forked=True) as older:
            until(lambda: max(stage.committed()) > 0, "a first commit")
            with WorkerRun(settings, forked=True) as newer:
                assert_ends_fenced(older)
                feeder.stop()
                stage.until_committed(newer)
                assert newer.stopped() == 0, newer.output()
        same(stage, settings)


@pytest.mark.chaos
class TestRow6Scaling:
    def test_from_one_to_four_to_two_under_load(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=4)
        settings = stage.settings(**KEEPING)
        workers: list[WorkerRun] = []

        def shared() -> bool:
            shares = sorted(map(owned, workers))
            return sum(shares) == len(stage.places) and shares[-1] - shares[0] <= 1

        with ExitStack() as stack, Feeder(stage) as feeder:
            for count in (1, 2, 3, 4, 3, 2):
                if count > len(workers):
                    pod = f"pod-{count}"
                    workers.append(stack.enter_context(WorkerRun(settings, pod=pod, forked=True)))
                else:
                    assert workers.pop().stopped() == 0
                until(shared, "each partition is owned once, and the shares are fair")
                time.sleep(8.0)
            feeder.stop()
            stage.until_committed(workers[0])
            for worker in workers:
                assert worker.stopped() == 0, worker.output()
        finish(stage, settings)
        same(stage, settings)


def owned(worker: WorkerRun) -> int:
    """How many partitions it owns, by its own log."""
    change = {"partitions_assigned": 1, "partitions_revoked": -1, "partitions_lost": -1}
    return sum(sign * len(line["partitions"]) for event, sign in change.items() for line in worker.log(event))


class TestRow7RollingRestart:
    """Each of two workers gets SIGTERM and is replaced; it ends with 0 within the grace that deployments give."""

    def test_between_two_records_nothing_is_replayed(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=4)
        settings = stage.settings(**KEEPING | {"state": {"interval_s": 3_600, "on_state_loss": "fail"}})
        feeder = Feeder(stage)

        def write() -> None:
            feeder.write(RECORDS)
            until(lambda: stage.committed() == stage.ends(), "all of it is committed")

        lives = self.rolled(settings, write)
        restored = [line for worker in lives for line in worker.log("partition_restored")]
        assert len(restored) >= 6
        assert [line for line in restored if line["offset"] != line["replay_until"]] == []
        same(stage, settings)

    @pytest.mark.chaos
    def test_under_load_only_an_aborted_transaction_makes_anything_replayed(
        self, kafka: Broker, tmp_path: Path
    ) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=4)
        settings = stage.settings(**KEEPING | {"state": {"interval_s": 3_600, "on_state_loss": "fail"}})
        feeder = Feeder(stage, records_max=lambda: 40 * RECORDS)
        with feeder:
            lives = self.rolled(settings, lambda: time.sleep(3.0))
        restored = [line for worker in lives for line in worker.log("partition_restored")]
        if not any(worker.log("transaction_aborted") for worker in lives):
            assert [line for line in restored if line["offset"] != line["replay_until"]] == []
        finish(stage, settings)
        same(stage, settings)

    def rolled(self, settings: Path, before_each: Callable[[], None]) -> list[WorkerRun]:
        """Both replaced, then both stopped; gives all four lives."""
        with ExitStack() as stack:
            return self._rolled(stack, settings, before_each)

    @staticmethod
    def _rolled(stack: ExitStack, settings: Path, before_each: Callable[[], None]) -> list[WorkerRun]:
        def begun(pod: str) -> WorkerRun:
            return stack.enter_context(WorkerRun(settings, pod=pod, forked=True))

        pods = ("pod-0", "pod-1")
        alive = {pod: begun(pod) for pod in pods}
        lives = list(alive.values())

        def shared() -> bool:
            return all(worker.ready() and owned(worker) == 2 for worker in alive.values())

        def stop(worker: WorkerRun) -> None:
            began_s = time.monotonic()
            assert worker.stopped() == 0, worker.output()
            assert time.monotonic() - began_s < GRACE_S

        for pod in pods:
            until(shared, "two partitions each")
            before_each()
            stop(alive[pod])
            alive[pod] = begun(pod)
            lives.append(alive[pod])
        until(shared, "two partitions each")
        before_each()
        for worker in alive.values():
            stop(worker)
        return lives


class TestRow11DuringRestore:
    @pytest.mark.chaos
    def test_a_restore_that_stood_still_past_the_session_is_given_up(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        settings = stage.settings(**KEEPING)
        feeder = Feeder(stage)
        feeder.write(RECORDS)
        finish(stage, settings)
        feeder.write(RECORDS)
        with WorkerRun(settings, fault=Fault("in_restore", 1, "STOP"), forked=True) as slow:
            slow.until_logged("fault_reached")
            with WorkerRun(settings, pod="pod-1", forked=True) as rival:
                rival.until_logged("partition_restored", len(stage.places))
                slow.resumed()
                slow.until_logged("partitions_lost")
                feeder.write(RECORDS)
                stage.until_committed(rival)
                assert rival.stopped() == 0, rival.output()
            feeder.write(RECORDS)
            stage.until_committed(slow)
            assert slow.stopped() == 0, slow.output()
        same(stage, settings)

    def test_killed_while_it_hands_over_or_while_the_other_restores(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        settings = stage.settings(**KEEPING)
        with Feeder(stage) as feeder:
            with WorkerRun(settings, fault=Fault("in_revoke", life="giver"), forked=True) as giver:
                until(lambda: min(stage.committed()) > 0, "a first commit of each")
                with WorkerRun(settings, pod="pod-1", fault=Fault("in_restore", life="taker"), forked=True) as taker:
                    assert giver.ended() == KILLED, giver.output()
                    assert taker.ended() == KILLED, taker.output()
            feeder.stop()
        finish(stage, settings)
        same(stage, settings)
