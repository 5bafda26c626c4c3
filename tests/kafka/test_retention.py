"""`detector run` on real Apache Kafka when its input does not hold what it should read next."""

import time
from pathlib import Path
from typing import Final

import pytest

from tests.kafka.broker import Broker
from tests.kafka.test_worker_on_kafka import metrics
from tests.kafka.workers import Stage, WorkerRun, until

pytestmark = pytest.mark.kafka

COUNT: Final = 1_000
FETCH_ENDS_S: Final = 2.0
"""Longer than a broker holds back an empty answer (``fetch.wait.max.ms``, 500)."""

every_keeping = pytest.mark.parametrize(
    "keeps", [False, pytest.param(True, marks=pytest.mark.chaos)], ids=["forgetting", "keeping"]
)


def worked(folder: Path, kafka: Broker, *, protocol: str = "classic", keeps: bool = True) -> tuple[Stage, Path, Path]:
    """A worker has read 1,000 records and ended in order; settings that are strict, and others that are not."""
    stage = Stage(kafka.bootstrap_servers, folder, partitions=1)
    kafka_settings = {"group_protocol": protocol}
    delivery = {"mode": "exactly_once" if keeps else "at_least_once"}
    strict = stage.settings(kafka=kafka_settings, delivery=delivery, state={"enabled": keeps, "on_state_loss": "fail"})
    lenient = stage.settings(kafka=kafka_settings, delivery=delivery, state={"enabled": keeps})
    stage.write(metrics(1, COUNT))
    with WorkerRun(strict) as worker:
        stage.until_committed(worker)
        assert worker.stopped() == 0
    return stage, strict, lenient


def stops(settings: Path, *words: str) -> None:
    """A worker with these settings ends with exit code 1 and one line that says all of ``words``."""
    with WorkerRun(settings) as worker:
        assert worker.ended() == 1
        last = worker.output().splitlines()[-1]
        assert "Traceback" not in worker.output()
    for word in words:
        assert word in last


def goes_on(stage: Stage, settings: Path, lost: int) -> None:
    """A worker with these settings reads to the end, and says how many records are gone."""
    with WorkerRun(settings) as worker:
        worker.until_logged("state_lost")
        stage.until_committed(worker)
        assert worker.stopped() == 0
        assert [line["records_lost"] for line in worker.log("state_lost")] == [lost]
    with WorkerRun(settings) as worker:
        worker.until_logged("partitions_assigned")
        stage.write(metrics(9, 10))
        stage.until_committed(worker)
        assert worker.stopped() == 0
        assert not worker.log("state_lost")


@pytest.mark.parametrize(
    ("protocol", "keeps"), [pytest.param("classic", True, marks=pytest.mark.chaos), ("consumer", False)]
)
def test_retention_past_the_committed_offset(kafka: Broker, tmp_path: Path, protocol: str, keeps: bool) -> None:  # noqa: FBT001  # a parameter of the test
    stage, strict, lenient = worked(tmp_path, kafka, protocol=protocol, keeps=keeps)
    stage.write(metrics(2, COUNT))
    stage.expire(COUNT + 300)
    stops(
        strict,
        "offset 1300, past 1000: 300 records",
        f"`detector state reset {stage.input}:0 --to-earliest --forget --execute`",
    )
    assert stage.committed() == [COUNT]
    goes_on(stage, lenient, 300)


@every_keeping
def test_a_committed_offset_past_the_end(kafka: Broker, tmp_path: Path, keeps: bool) -> None:  # noqa: FBT001  # likewise
    stage, strict, lenient = worked(tmp_path, kafka, keeps=keeps)
    stage.commit(5_000)
    stops(strict, "offsets 0 to 1000 do not go on at 5000")
    goes_on(stage, lenient, 0)


def test_retention_between_the_snapshot_and_the_committed_offset(kafka: Broker, tmp_path: Path) -> None:
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
    strict, lenient = (
        stage.settings(state={"interval_s": 3_600, "on_state_loss": policy}) for policy in ("fail", "cold_start")
    )
    stage.write(metrics(3, COUNT))
    with WorkerRun(strict) as worker:
        stage.until_committed(worker)
        worker.killed()
    stage.expire(500)
    stops(strict, "the input begins at offset 500, past 0, from which to replay")
    goes_on(stage, lenient, 0)


@pytest.mark.chaos
def test_a_snapshot_at_the_committed_offset_needs_nothing_before_it(kafka: Broker, tmp_path: Path) -> None:
    stage, strict, _ = worked(tmp_path, kafka)
    stage.expire(COUNT)
    with WorkerRun(strict) as worker:
        worker.until_logged("partition_restored")
        stage.write(metrics(4, 100))
        stage.until_committed(worker)
        assert worker.stopped() == 0


@pytest.mark.chaos
def test_offsets_that_have_expired_are_no_first_start(kafka: Broker, tmp_path: Path) -> None:
    stage, strict, lenient = worked(tmp_path, kafka)
    stage.forget_group()
    stops(strict, "nothing is committed, but", "have expired")
    goes_on(stage, lenient, 0)


@pytest.mark.parametrize(
    ("protocol", "policy"), [pytest.param("classic", "cold_start", marks=pytest.mark.chaos), ("consumer", "fail")]
)
def test_retention_overtakes_a_worker_that_runs(kafka: Broker, tmp_path: Path, protocol: str, policy: str) -> None:
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
    stage.write(metrics(5, COUNT))
    settings = stage.settings(kafka={"group_protocol": protocol}, state={"on_state_loss": policy})
    with WorkerRun(settings) as worker:
        stage.until_committed(worker)
        worker.paused()
        time.sleep(FETCH_ENDS_S)  # else the open fetch would bring the new records all the same
        stage.write(metrics(6, COUNT))
        stage.expire(COUNT + 400)
        worker.resumed()
        if policy == "fail":
            assert worker.ended() == 1
            assert "offset 1400, past 1000: 400 records" in worker.output().splitlines()[-1]
            return
        until(lambda: stage.committed() == [2 * COUNT], "the end is committed")
        assert [line["records_lost"] for line in worker.log("state_lost")] == [400]
        assert worker.stopped() == 0


@pytest.mark.chaos
def test_the_setting_for_first_starts_is_for_first_starts(kafka: Broker, tmp_path: Path) -> None:
    stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
    stage.write(metrics(7, COUNT))
    stops(stage.settings(kafka={"auto_offset_reset": "error"}), f"nothing was committed for {stage.input}[0]")
    stage.expire(200)
    with WorkerRun(stage.settings(state={"on_state_loss": "fail"})) as worker:
        stage.until_committed(worker)
        assert worker.stopped() == 0
    assert min(offset for _, offset in stage.dead_places()) >= 200
