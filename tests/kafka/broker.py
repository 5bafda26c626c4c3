"""Real Apache Kafka for tests and benchmarks: a KRaft node from Maven's jars or Docker, or one that runs already.

``python -m tests.kafka.broker`` starts one (three with ``--nodes 3``), prints the address and runs until Ctrl-C.
"""

# ruff: noqa: S607  # commands are fixed words above, found on the PATH of whoever runs the tests

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from tests.kafka.cluster import ClusterOfJars, running_cluster
from tests.kafka.nodes import (
    SETTINGS,
    STAMP,
    JarNode,
    NoKafkaError,
    cluster_id,
    free_ports,
    java,
    resolve_libs,
    run,
    wait_until_ready,
)

IMAGE: Final = "apache/kafka:4.1.1"
ADDRESS_VARIABLE: Final = "DETECTOR_TEST_KAFKA"
REQUIRE_VARIABLE: Final = "DETECTOR_REQUIRE_KAFKA"


class Broker(Protocol):
    """A broker with an address, that can be stopped and started again with its data."""

    bootstrap_servers: str

    def start(self) -> None:
        """Start and wait until it answers."""

    def stop(self) -> None:
        """Stop in order, keeping the data."""

    def remove(self) -> None:
        """Stop and delete the data."""


class JarBroker:
    """One node from the jars, in a folder and a process of its own; ``more`` adds to its settings or replaces them."""

    def __init__(self, more: Mapping[str, str] | None = None) -> None:
        resolve_libs()
        port, controller = free_ports(2)
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self._folder = Path(tempfile.mkdtemp(prefix="detector-kafka-"))
        settings = SETTINGS | {
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://127.0.0.1:{controller}",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            **(more or {}),
        }
        self._node = JarNode(self._folder, settings)
        storage = [*java(), "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id()]
        run([*storage, "-c", str(self._node.properties)])

    def start(self) -> None:
        """Start and wait until it answers."""
        self._node.start()
        try:
            wait_until_ready(self.bootstrap_servers)
        except NoKafkaError as error:
            tail = self._node.log_tail()
            self.remove()
            raise NoKafkaError(f"{error}; its log ends with: {tail}") from error

    def stop(self) -> None:
        """Stop in order, keeping the data."""
        self._node.stop()

    def remove(self) -> None:
        """Kill and delete the data; nobody needs them any more."""
        self._node.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class DockerBroker:
    """One node from the published image; its data live as long as the container."""

    def __init__(self) -> None:
        (port,) = free_ports(1)
        self.bootstrap_servers = f"127.0.0.1:{port}"
        settings = SETTINGS | {
            "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://127.0.0.1:9093",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.quorum.voters": "1@127.0.0.1:9093",
        }
        variables = [f"-eKAFKA_{name.replace('.', '_').upper()}={value}" for name, value in settings.items()]
        self._container = run(["docker", "create", "-p", f"{port}:{port}", *variables, IMAGE]).split()[-1]

    def start(self) -> None:
        """Start and wait until it answers."""
        run(["docker", "start", self._container])
        wait_until_ready(self.bootstrap_servers)

    def stop(self) -> None:
        """Stop in order, keeping the data."""
        run(["docker", "stop", self._container])

    def remove(self) -> None:
        """Remove the container with its data."""
        run(["docker", "rm", "-f", "-v", self._container])


class RunningBroker:
    """A broker that somebody else started; it cannot be stopped from here."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def start(self) -> None:
        """Wait until it answers."""
        wait_until_ready(self.bootstrap_servers)

    def stop(self) -> None:
        """Refuse."""
        raise NoKafkaError("a broker named by the environment is not ours to stop")

    def remove(self) -> None:
        """Leave it as it is."""


def missing() -> str | None:
    """Say what a real broker would need here; None when there is a way to have one."""
    if os.environ.get(ADDRESS_VARIABLE) or has_jars() or _has_docker():
        return None
    return "neither Java with Maven nor a Docker daemon"


def missing_cluster() -> str | None:
    """Say what a cluster of three would need here; None when there is a way to have one."""
    return None if has_jars() else "no Java with Maven"


def has_jars() -> bool:
    """Whether brokers can be started from the jars here."""
    return shutil.which("java") is not None and (shutil.which("mvn") is not None or STAMP.exists())


def _has_docker() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def make_broker() -> Broker:
    """Take the first way that is there: a running broker by environment, the jars, Docker. Not started yet."""
    address = os.environ.get(ADDRESS_VARIABLE)
    if address:
        return RunningBroker(address)
    if has_jars():
        return JarBroker()
    if _has_docker():
        return DockerBroker()
    raise NoKafkaError(f"real Kafka needs one of: {ADDRESS_VARIABLE}=host:port, Java with Maven, Docker")


@contextlib.contextmanager
def running_broker() -> Iterator[Broker]:
    """Give a started broker and remove it at the end, whatever happens in between."""
    broker = make_broker()
    try:
        broker.start()
        yield broker
    finally:
        broker.remove()


def main() -> None:
    """Run one, or a cluster of three, until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="three need Java and Maven")
    three = parser.parse_args().nodes == 3
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    running: contextlib.AbstractContextManager[Broker | ClusterOfJars] = (
        running_cluster() if three else running_broker()
    )
    with contextlib.suppress(KeyboardInterrupt), running as broker:
        sys.stdout.write(f"{broker.bootstrap_servers}\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
