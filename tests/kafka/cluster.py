"""Three nodes of real Apache Kafka, any of which may be killed, paused and started again.

Every node is broker and controller. Topics have three replicas and need two in sync, also the internal ones, so one
node may always be missing; a second one missing stops the cluster until one is back.
"""

import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.kafka.nodes import (
    SETTINGS,
    START_TIMEOUT_S,
    JarNode,
    NoKafkaError,
    cluster_id,
    free_ports,
    java,
    resolve_libs,
    run,
    wait_until_ready,
)

NODES: Final = (1, 2, 3)
HEAP_MB: Final = 384
ANSWER_TIMEOUT_S: Final = 5.0

CLUSTER_SETTINGS: Final = SETTINGS | {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    # A node that was killed is missed soon: the default is 9 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1000",
    "replica.lag.time.max.ms": "5000",
}


class ClusterOfJars:
    """Three nodes, numbered 1 to 3. ``bootstrap_servers`` names all of them."""

    def __init__(self) -> None:
        resolve_libs()
        ports = free_ports(2 * len(NODES))
        self._folder = Path(tempfile.mkdtemp(prefix="detector-kafka-"))
        self._addresses = {node: f"127.0.0.1:{port}" for node, port in zip(NODES, ports, strict=False)}
        controllers = {node: f"127.0.0.1:{port}" for node, port in zip(NODES, ports[len(NODES) :], strict=True)}
        self.bootstrap_servers = ",".join(self._addresses.values())
        voters = ",".join(f"{node}@{address}" for node, address in controllers.items())
        self._nodes = {
            node: JarNode(
                self._folder / f"node-{node}",
                CLUSTER_SETTINGS
                | {
                    "node.id": str(node),
                    "listeners": f"PLAINTEXT://{self._addresses[node]},CONTROLLER://{controllers[node]}",
                    "controller.quorum.voters": voters,
                },
                heap_mb=HEAP_MB,
            )
            for node in NODES
        }
        self._paused: set[int] = set()
        self._format()
        self._admin: AdminClient | None = None

    def _format(self) -> None:
        """Format one node with Kafka's tool, a second or two, and the others as its copies under their own ids."""
        first = self._nodes[NODES[0]]
        run([*java(), "kafka.tools.StorageTool", "format", "-t", cluster_id(), "-c", str(first.properties)])
        for node in NODES[1:]:
            shutil.copytree(first.logs, self._nodes[node].logs)
            meta = self._nodes[node].logs / "meta.properties"
            lines = dict(line.split("=", 1) for line in meta.read_text().splitlines() if "=" in line)
            lines |= {"node.id": str(node), "directory.id": cluster_id()}
            meta.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))

    def start(self) -> None:
        """Start all and wait until they answer."""
        for node in self._nodes.values():
            node.start()
        self.wait_until_ready()

    def wait_until_ready(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until every node that runs is a member that answers, and groups can be asked about."""
        deadline_s = time.monotonic() + timeout_s
        awake = {node for node in NODES if self._nodes[node].runs()} - self._paused
        while not awake <= self._members():
            if time.monotonic() > deadline_s:
                tails = {node: self._nodes[node].log_tail() for node in awake}
                raise NoKafkaError(
                    f"nodes {awake} do not answer within {timeout_s:.0f} s; their logs end with: {tails}"
                )
            time.sleep(0.2)
        wait_until_ready(",".join(self._addresses[node] for node in sorted(awake)), timeout_s=timeout_s)

    def _members(self) -> set[int]:
        try:
            return set(self.admin().list_topics(timeout=1).brokers)
        except KafkaException:
            return set()

    def admin(self) -> AdminClient:
        """A client of the cluster; kept, since requests end with the client."""
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        return self._admin

    def kill(self, node: int) -> None:
        """SIGKILL."""
        self._nodes[node].kill()
        self._paused.discard(node)

    def restart(self, node: int) -> None:
        """Start a node that is down, with its data, and wait until it answers."""
        assert not self._nodes[node].runs(), f"node {node} runs"
        self._nodes[node].start()
        self.wait_until_ready()

    def pause(self, node: int) -> None:
        """SIGSTOP: it keeps its connections and says nothing."""
        self._nodes[node].send(signal.SIGSTOP)
        self._paused.add(node)

    def resume(self, node: int) -> None:
        """SIGCONT."""
        self._nodes[node].send(signal.SIGCONT)
        self._paused.discard(node)

    def heal(self) -> None:
        """Have all three again, whatever a test has left behind, with every replica in sync."""
        for node in list(self._paused):
            self.resume(node)
        for each in self._nodes.values():
            if not each.runs():
                each.start()
        self.wait_until_ready()
        self.wait_until_in_sync()

    def wait_until_in_sync(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until every partition has three replicas in sync, so that the next node may go."""
        deadline_s = time.monotonic() + timeout_s
        while lagging := self._lagging():
            if time.monotonic() > deadline_s:
                raise NoKafkaError(f"replicas are not in sync within {timeout_s:.0f} s: {lagging}")
            time.sleep(0.2)

    def _lagging(self) -> list[str]:
        try:
            topics: Mapping[str, Any] = self.admin().list_topics(timeout=ANSWER_TIMEOUT_S).topics
        except KafkaException as error:
            return [str(error)]
        return [
            f"{name}[{number}]"
            for name, topic in topics.items()
            for number, partition in topic.partitions.items()
            if len(partition.isrs) < len(partition.replicas)
        ]

    def leader_of(self, topic: str, partition: int) -> int:
        """The node that leads a partition, as the brokers say now."""
        found = self.admin().list_topics(topic, timeout=ANSWER_TIMEOUT_S).topics[topic].partitions[partition]
        return int(found.leader)

    def coordinator_of(self, group: str) -> int:
        """The node that coordinates a group, whether anybody has joined it or not."""
        return self._coordinator("__consumer_offsets", "offsets.topic.num.partitions", group)

    def transaction_coordinator_of(self, transactional_id: str) -> int:
        """The node that coordinates a transactional producer; there must have been one."""
        return self._coordinator("__transaction_state", "transaction.state.log.num.partitions", transactional_id)

    def _coordinator(self, topic: str, count: str, name: str) -> int:
        """The leader of the partition that keeps what is known of ``name``.

        Worked out here, because librdkafka aborts the process when the broker that it asks as coordinator has gone
        (librdkafka issue 4605).
        """
        return self.leader_of(topic, abs(java_hash(name)) % int(CLUSTER_SETTINGS[count]))

    def remove(self) -> None:
        """Kill all and delete the data."""
        self._admin = None
        for node in NODES:
            self.kill(node)
        shutil.rmtree(self._folder, ignore_errors=True)


def java_hash(text: str) -> int:
    """Java's ``String.hashCode``, a signed number of 32 bits. Source: Java SE, ``java.lang.String.hashCode``."""
    value = 0
    raw = text.encode("utf-16-be")
    for at in range(0, len(raw), 2):
        value = (31 * value + int.from_bytes(raw[at : at + 2], "big")) % 2**32
    return value - 2**32 if value >= 2**31 else value


@contextlib.contextmanager
def running_cluster() -> Iterator[ClusterOfJars]:
    """Give a started cluster and remove it at the end, whatever happens in between."""
    cluster = ClusterOfJars()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()
