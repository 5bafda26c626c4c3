"""`detector run` on three nodes of real Apache Kafka, one of which dies."""

from pathlib import Path
from typing import Final

import pytest

from tests.kafka.cluster import NODES, ClusterOfJars, java_hash
from tests.kafka.test_state_on_kafka import calm_events, events_of, stream
from tests.kafka.workers import Stage, WorkerRun, until

pytestmark = pytest.mark.kafka

BACK_WITHIN_S: Final = 120.0
"""However slow the machine; the failure matrix asks how soon."""


def test_a_worker_goes_on_when_the_leader_of_its_input_dies(cluster: ClusterOfJars, tmp_path: Path) -> None:
    stage = Stage(cluster.bootstrap_servers, tmp_path, partitions=1, replicas=3)
    settings = stage.settings(state={"interval_s": 0.5, "on_state_loss": "fail"})
    values = stream(11, minutes=1_500)
    half = len(values) // 2
    stage.write(values[:half])
    with WorkerRun(settings) as worker:
        stage.until_committed(worker)
        leader = cluster.leader_of(stage.input, 0)
        cluster.kill(leader)
        stage.write(values[half:])
        until(lambda: stage.committed() == [len(values)], "the worker goes on", deadline_s=BACK_WITHIN_S)
        assert cluster.leader_of(stage.input, 0) != leader
        assert worker.runs(), worker.output()
        assert worker.stopped() == 0
    assert events_of(stage, stage.events) == calm_events(stage)


def test_nodes_come_and_go_and_the_cluster_says_who_does_what(cluster: ClusterOfJars) -> None:
    for number in range(6):
        group = f"group-{number}"
        future = cluster.admin().describe_consumer_groups([group], request_timeout=10)[group]
        assert cluster.coordinator_of(group) == future.result(10).coordinator.id
    coordinator = cluster.coordinator_of("some-group")
    assert coordinator in NODES
    cluster.kill(coordinator)
    until(lambda: cluster.coordinator_of("some-group") != coordinator, "another coordinator")
    cluster.restart(coordinator)
    cluster.wait_until_in_sync()
    cluster.pause(coordinator)
    others = set(NODES) - {coordinator}
    until(lambda: cluster.coordinator_of("some-group") in others, "a paused node is replaced")
    cluster.resume(coordinator)
    cluster.wait_until_ready()


@pytest.mark.parametrize(("text", "number"), [("", 0), ("a", 97), ("polygenelubricants", -(2**31))])
def test_strings_are_hashed_as_by_java(text: str, number: int) -> None:
    assert java_hash(text) == number
