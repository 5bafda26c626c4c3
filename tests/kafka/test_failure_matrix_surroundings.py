"""What may happen around workers, on real Apache Kafka: rows 8, 9, 12, 14 and 15 of docs/failures.md.

As for the workers themselves, events, dead letters and final states must be those of the pipeline alone; where state is
lost, somebody must have been told.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from detector.state import format_pointer, parse_pointer
from tests.kafka.broker import Broker, RunningBroker
from tests.kafka.cluster import ClusterOfJars
from tests.kafka.faults import Fault
from tests.kafka.inputs import Feeder
from tests.kafka.outcome import outcome, same
from tests.kafka.test_failure_matrix import KEEPING, RECORDS, finish
from tests.kafka.workers import Stage, WorkerRun, until
from tests.streams import record

pytestmark = pytest.mark.kafka

PROGRESS_S: Final = 30.0
AWAY_S: Final = 40.0
GROWN_BYTES_MAX: Final = 64 * 1024 * 1024
MINUTE_0: Final = 1_700_000_000


@pytest.mark.chaos
class TestRow8NodesKilled:
    def test_leader_and_both_coordinators_go_one_after_the_other(self, cluster: ClusterOfJars, tmp_path: Path) -> None:
        stage = Stage(cluster.bootstrap_servers, tmp_path, replicas=3)
        settings = stage.settings(**KEEPING)
        pod = "pod-0"
        nodes: list[Callable[[], int]] = [
            lambda: cluster.leader_of(stage.input, 0),
            lambda: cluster.coordinator_of(stage.group),
            lambda: cluster.transaction_coordinator_of(stage.transactional_id(pod)),
        ]
        with Feeder(stage) as feeder:
            worker = WorkerRun(settings, pod=pod, forked=True)
            try:
                until(lambda: min(stage.committed()) > 0, "a first commit of each")
                for find in nodes:
                    node = find()
                    cluster.kill(node)
                    before = sum(stage.committed())
                    worker = _until_progress(stage, settings, worker, before)
                    cluster.restart(node)
                    cluster.wait_until_in_sync()
                feeder.stop()
                worker = _until_progress(stage, settings, worker, sum(stage.ends()) - 1)
                assert worker.stopped() == 0, worker.output()
            finally:
                worker.__exit__()
        same(stage, settings)


def _until_progress(stage: Stage, settings: Path, worker: WorkerRun, before: int) -> WorkerRun:
    """Wait for commits past ``before``; a worker whose commit got no answer ends by design and is started again."""
    end_s = time.monotonic() + PROGRESS_S
    while sum(stage.committed()) <= before:
        assert time.monotonic() < end_s, f"no progress within {PROGRESS_S:.0f} s: {worker.output()}"
        if not worker.runs():
            assert "no answer to a commit" in worker.output(), worker.output()
            worker = WorkerRun(settings, pod=worker.pod, forked=True)
        time.sleep(0.1)
    return worker


@pytest.mark.chaos
class TestRow9BrokersAway:
    def test_it_waits_with_its_memory_flat_and_goes_on(self, kafka: Broker, tmp_path: Path) -> None:
        if isinstance(kafka, RunningBroker):
            pytest.skip("a broker named by the environment cannot be stopped from here")
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        settings = stage.settings(**KEEPING)
        feeder = Feeder(stage)
        feeder.write(4 * RECORDS)
        with WorkerRun(settings, forked=True) as worker:
            stage.until_committed(worker)
            kafka.stop()
            try:
                worker.until_logged("consumer_error_waited")
                time.sleep(5.0)
                before = worker.rss_bytes()
                time.sleep(AWAY_S)
                grown = worker.rss_bytes() - before
                assert worker.runs(), worker.output()
            finally:
                kafka.start()
            assert grown < GROWN_BYTES_MAX
            feeder.write(4 * RECORDS)
            stage.until_committed(worker)
            assert worker.stopped() == 0, worker.output()
        same(stage, settings)


@pytest.fixture
def remembering(kafka: Broker, tmp_path: Path) -> tuple[Stage, Path, Feeder]:
    """A group that stopped in order after each of two snapshots of its one partition, with more to read."""
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
    settings = stage.settings(**KEEPING | {"state": {"interval_s": 3_600, "on_state_loss": "fail"}})
    feeder = Feeder(stage)
    for _ in range(2):
        feeder.write(RECORDS)
        with WorkerRun(settings, fault=Fault(), forked=True) as worker:
            stage.until_committed(worker)
            assert worker.stopped() == 0, worker.output()
    feeder.write(RECORDS)
    return stage, settings, feeder


class TestRow12StateTopicHarmed:
    def test_a_flipped_bit_is_noticed_and_the_snapshot_before_it_taken(
        self, remembering: tuple[Stage, Path, Feeder]
    ) -> None:
        stage, settings, _feeder = remembering
        _flip_a_bit(stage)
        with WorkerRun(settings, forked=True) as worker:
            stage.until_committed(worker)
            (restored,) = worker.log("partition_restored")
            assert (restored["offset"], restored["replay_until"]) == (RECORDS, 2 * RECORDS)
            assert worker.stopped() == 0, worker.output()
        same(stage, settings)

    @pytest.mark.parametrize("harm", ["truncated", "created anew"])
    def test_without_any_snapshot_left_the_setting_decides(
        self, remembering: tuple[Stage, Path, Feeder], harm: str
    ) -> None:
        stage, settings, feeder = remembering
        if harm == "truncated":
            stage.truncate(stage.state)
        else:
            stage.create_state_anew()
        with WorkerRun(settings, forked=True) as worker:
            assert worker.ended() == 1
            assert "state.on_state_loss" in worker.output()
            assert "Traceback" not in worker.output()
        assert stage.committed() == [2 * RECORDS], "nothing was committed past the loss"
        cold = stage.settings(**KEEPING)
        cold.write_text(cold.read_text().replace('"fail"', '"cold_start"'))
        with WorkerRun(cold, forked=True) as worker:
            worker.until_logged("state_lost")
            feeder.write(RECORDS)
            stage.until_committed(worker)
            assert worker.stopped() == 0, worker.output()
        left = outcome(stage, cold)
        assert left.states[0].header.offset == 4 * RECORDS
        letters = sum(offset >= 2 * RECORDS for _, offset in left.dead_letters)
        assert letters >= 10, "records after the loss were processed"
        assert all(len(lines) == 1 for lines in left.dead_letters.values())


def _flip_a_bit(stage: Stage) -> None:
    """Write the newest snapshot once more with one bit changed, and let the pointer name that."""
    (place,) = stage.committed_places()
    pointer = parse_pointer(place.metadata)
    assert pointer is not None
    lying = [each for each in stage.read(stage.state) if pointer.first_offset <= (each.offset() or 0)]
    chunks = lying[: pointer.chunk_count]
    assert len(chunks) == pointer.chunk_count > 1
    value = chunks[1].value() or b""
    chunks[1].set_value(bytes((value[0] ^ 1,)) + value[1:])
    offsets = stage.write_state(chunks)
    stage.commit(place.offset, format_pointer(pointer.at(min(offsets), max(offsets))))


class TestRow14BadInput:
    """Every other test has poison and dead letters; without a topic for them: test_worker_on_kafka.py."""

    def test_a_model_that_raises_loses_its_series_and_nothing_else(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
        # Needs 500 samples before it can answer, and is given 50: from then on its exception counts.
        winters = {"alpha": 0.3, "beta": 0.1, "gamma": 0.1, "seasonality": 500}
        broken = {
            "river": "river.anomaly.PredictiveAnomalyDetection",
            "params": {"predictive_model": {"river": "river.time_series.HoltWinters", "params": winters}},
            "quiet_samples_max": 50,
        }
        settings = stage.settings(
            **KEEPING,
            models={"broken": broken},
            policies=[{"name": "broken", "match": '{host="h0"}', "model": "broken"}],
        )
        Feeder(stage).write(4 * RECORDS)
        with WorkerRun(settings, forked=True) as worker:
            stage.until_committed(worker)
            assert worker.metric("detector_learner_failures_total") == 1
            assert worker.stopped() == 0, worker.output()
        ours = same(stage, settings)
        assert ours.event_count() > 0


class TestRow15TooManySeries:
    def test_ten_times_the_limit_is_held_counted_and_the_same_after_a_kill(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
        limit = 100
        settings = stage.settings(**KEEPING, series={"limit_per_partition": limit})
        values = [
            record("load", MINUTE_0 + 60 * minute, float(number), {"host": f"h{number}"})
            for minute in range(6)
            for number in range(10 * limit)
        ]
        stage.write(values[: len(values) // 2])
        with WorkerRun(settings, forked=True) as worker:
            stage.until_committed(worker)
            assert worker.metric("detector_series_held") <= limit
            assert worker.metric("detector_series_evicted_total") >= 20 * limit
            worker.killed()
        stage.write(values[len(values) // 2 :])
        finish(stage, settings)
        ours = same(stage, settings)
        assert ours.states[0].header.series_count <= limit
