"""`detector run` on topics of logs and metrics, on real Apache Kafka: killed again and again, it says the same."""

import json
import random
import time
from pathlib import Path
from threading import Event, Thread
from typing import Final

import pytest

from tests.kafka.broker import Broker
from tests.kafka.outcome import same
from tests.kafka.workers import Stage, WorkerRun
from tests.log_records import log_records

pytestmark = pytest.mark.kafka

PARTITIONS: Final = 2
KILLS: Final = 3
KILLS_MAX: Final = 10
"""Until a snapshot was used and something replayed, which hangs on the moments."""
MINUTES: Final = 150
KEEPING: Final[dict[str, dict[str, object]]] = {
    "kafka": {"session_timeout_ms": 1_000, "topics": []},
    "worker": {"batch_records_max": 100, "commit_interval_s": 0.05},
    "state": {"interval_s": 0.4, "on_state_loss": "fail"},
}


def log_stage(kafka: Broker, folder: Path) -> tuple[Stage, Path]:
    """An input of log lines, and the settings of workers that read it."""
    stage = Stage(kafka.bootstrap_servers, folder, partitions=PARTITIONS)
    return stage, stage.settings(**KEEPING, logs={"topics": [stage.input]})


def test_killed_again_and_again_it_has_the_same_episodes_templates_and_state(kafka: Broker, tmp_path: Path) -> None:
    stage, settings = log_stage(kafka, tmp_path)
    streams = [log_records(MINUTES, seed) for seed in range(PARTITIONS)]
    chance = random.Random(1)
    restored: list[tuple[int, int]] = []
    calm = Event()

    def enough() -> bool:
        """Whether some worker went on from a snapshot and learnt again what had been told."""
        return any(0 < start < until for start, until in restored)

    def feed() -> None:
        """A little every moment while workers are killed, so that each has something to do, then the rest."""
        size, start = 20, 0
        while start < max(map(len, streams)):
            for partition, values in enumerate(streams):
                stage.write(list(values[start : start + size]), partition=partition)
            start += size
            time.sleep(0 if calm.is_set() else 0.1)

    feeder = Thread(target=feed, daemon=True)
    feeder.start()
    for kill in range(KILLS_MAX):
        with WorkerRun(settings) as worker:
            worker.until_logged("partitions_assigned")
            time.sleep(chance.uniform(0.5, 2.5))
            assert worker.runs(), worker.output()
            worker.killed()
            restored += [(line["offset"], line["replay_until"]) for line in worker.log("partition_restored")]
        if enough() and kill + 1 >= KILLS:
            break
    calm.set()
    feeder.join()
    with WorkerRun(settings) as worker:
        worker.until_logged("partitions_assigned")
        stage.until_committed(worker)
        restored += [(line["offset"], line["replay_until"]) for line in worker.log("partition_restored")]
        assert worker.stopped() == 0
        assert not worker.log("state_lost")
    assert enough(), f"a snapshot was used and something replayed: {restored}"
    ours = same(stage, settings)
    events = [json.loads(line.value or b"")["data"] for lines in ours.events.values() for line in lines]
    opened = [event for event in events if event["state"] == "opened"]
    assert opened
    assert all(event["kind"].startswith("log.") for event in events)
    assert any("connection pool exhausted" in each["text"] for event in opened for each in event["templates"])


def test_a_service_in_two_partitions_is_told_with_the_remedy(kafka: Broker, tmp_path: Path) -> None:
    stage, settings = log_stage(kafka, tmp_path)
    values = log_records(5)
    for partition in range(PARTITIONS):
        stage.write(list(values), partition=partition)
    with WorkerRun(settings) as worker:
        stage.until_committed(worker)
        assert worker.stopped() == 0
        told = worker.log("log_services_split")
    assert told
    assert "key" in told[0]["remedy"]
    assert any("checkout" in name for name in told[0]["services"])
