"""`detector run` keeps its models on real Apache Kafka: killed again and again, it says what a calm run says."""

import json
import random
import time
from pathlib import Path
from threading import Thread
from typing import Final

import pytest

from tests.kafka.broker import Broker
from tests.kafka.workers import Stage, WorkerRun, until
from tests.streams import record

pytestmark = pytest.mark.kafka

PARTITIONS: Final = 2
SERIES: Final = 4
MINUTES: Final = 6_000
INCIDENT_EVERY: Final = 250
KEEPING: Final[dict[str, dict[str, object]]] = {
    "kafka": {"session_timeout_ms": 1_000},
    "worker": {"batch_records_max": 100, "commit_interval_s": 0.05},
    "state": {"interval_s": 0.4, "on_state_loss": "fail"},
}


def stream(seed: int, minutes: int = MINUTES) -> list[bytes | None]:
    """Quiet series with a short incident in one of them now and then."""
    chance = random.Random(seed)
    values: list[bytes | None] = []
    for minute in range(minutes):
        for host in range(SERIES):
            since, number = minute % INCIDENT_EVERY, minute // INCIDENT_EVERY
            level = 400.0 if 200 <= since < 215 and number % SERIES == host else 10.0
            values.append(record("load", 1_700_000_000 + 60 * minute, level + chance.random(), {"host": f"h{host}"}))
    return values


def events_of(stage: Stage, topic: str) -> dict[str, bytes]:
    """Events by id; none comes twice."""
    events: dict[str, bytes] = {}
    for message in stage.read(topic):
        value = message.value() or b""
        assert events.setdefault(json.loads(value)["id"], value) is value, "each event once"
    return events


def calm_events(stage: Stage) -> dict[str, bytes]:
    """What an undisturbed worker says about the same input."""
    settings, topic = stage.calm_settings()
    with WorkerRun(settings) as worker:
        stage.until_committed(worker, stage.calm_group)
        assert worker.stopped() == 0
    return events_of(stage, topic)


def replays(worker: WorkerRun) -> list[tuple[int, int]]:
    """From which offset to which, for each restored partition."""
    return [(line["offset"], line["replay_until"]) for line in worker.log("partition_restored")]


@pytest.mark.parametrize("wanted", [3, pytest.param(10, marks=pytest.mark.chaos)])
def test_killed_again_and_again_it_says_what_a_calm_run_says(kafka: Broker, tmp_path: Path, wanted: int) -> None:
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=PARTITIONS)
    settings = stage.settings(**KEEPING)
    chance = random.Random(1)
    streams = [stream(seed) for seed in range(PARTITIONS)]
    kills = 0

    def feed() -> None:
        """A little every moment and a share of the stream per life, so that every life has something to do."""
        size, start = 60, 0
        while start < len(streams[0]):
            if start * (wanted + 1) < (kills + 1) * len(streams[0]):
                for partition, values in enumerate(streams):
                    stage.write(values[start : start + size], partition=partition)
                start += size
            time.sleep(0.1 if kills < wanted else 0)

    feeder = Thread(target=feed, daemon=True)
    feeder.start()
    restored: list[tuple[int, int]] = []
    for _ in range(wanted):
        with WorkerRun(settings) as worker:
            worker.until_logged("partitions_assigned")
            time.sleep(chance.uniform(0.0, 2.5))
            assert worker.runs(), worker.output()
            worker.killed()
            restored += replays(worker)
        kills += 1
    feeder.join()
    with WorkerRun(settings) as worker:
        stage.until_committed(worker)
        assert worker.stopped() == 0
        restored += replays(worker)
        assert not worker.log("state_lost")
    assert len([start for start, _ in restored if start > 0]) >= wanted / 2, "snapshots were used"
    assert any(start < until for start, until in restored), "something was replayed"
    calm = calm_events(stage)
    assert len(calm) >= 2 * PARTITIONS * (MINUTES // INCIDENT_EVERY)
    assert events_of(stage, stage.events) == calm


def test_after_a_graceful_stop_nothing_is_replayed_and_two_workers_share_the_models(
    kafka: Broker, tmp_path: Path
) -> None:
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=PARTITIONS)
    settings = stage.settings(state={"on_state_loss": "fail"})
    streams = [stream(seed, minutes=1_500) for seed in range(PARTITIONS)]
    thirds = len(streams[0]) // 3
    with WorkerRun(settings) as first:
        for partition, values in enumerate(streams):
            stage.write(values[:thirds], partition=partition)
        stage.until_committed(first)
        with WorkerRun(settings, pod="pod-1") as second:
            until(lambda: bool(replays(second)), "the second worker has restored a partition")
            for partition, values in enumerate(streams):
                stage.write(values[thirds : 2 * thirds], partition=partition)
            stage.until_committed(second)
            assert first.stopped() == 0
            assert second.stopped() == 0, second.output()
            assert replays(second)[0] == (thirds, thirds)
    with WorkerRun(settings) as third:
        for partition, values in enumerate(streams):
            stage.write(values[2 * thirds :], partition=partition)
        stage.until_committed(third)
        assert third.stopped() == 0
        assert replays(third) == [(2 * thirds, 2 * thirds)] * PARTITIONS
    assert events_of(stage, stage.events) == calm_events(stage)


def test_a_wiped_pointer_is_found_again_in_the_state_topic(kafka: Broker, tmp_path: Path) -> None:
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
    settings = stage.settings(state={"on_state_loss": "fail"})
    values = stream(3, minutes=1_000)
    half = len(values) // 2
    stage.write(values[:half])
    with WorkerRun(settings) as worker:
        stage.until_committed(worker)
        assert worker.stopped() == 0
    stage.wipe_pointers()
    stage.write(values[half:])
    with WorkerRun(settings) as worker:
        stage.until_committed(worker)
        assert worker.stopped() == 0
        assert replays(worker) == [(half, half)]
    assert events_of(stage, stage.events) == calm_events(stage)


def test_lost_state_stops_or_begins_anew_as_the_setting_says(kafka: Broker, tmp_path: Path) -> None:
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
    stage.write(stream(4, minutes=100))
    with WorkerRun(stage.settings(state={"enabled": False}, delivery={"mode": "at_least_once"})) as worker:
        stage.until_committed(worker)
        assert worker.stopped() == 0
    with WorkerRun(stage.settings(state={"on_state_loss": "fail"})) as worker:
        assert worker.ended() == 1
        assert "state.on_state_loss" in worker.output()
    with WorkerRun(stage.settings()) as worker:
        worker.until_logged("state_lost")
        stage.write(stream(5, minutes=100))
        stage.until_committed(worker)
        assert worker.stopped() == 0


def test_a_missing_state_topic_stops_with_the_remedy(kafka: Broker, tmp_path: Path) -> None:
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1, state=False)
    with WorkerRun(stage.settings()) as worker:
        assert worker.ended() == 1
        assert f"the state topic {stage.state} cannot be used" in worker.output()
        assert "detector topics create" in worker.output()
