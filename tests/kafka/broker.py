"""Real Apache Kafka for tests and benchmarks: a KRaft node from Maven's jars or Docker, or one that runs already.

``python -m tests.kafka.broker`` starts one, prints its address and keeps it until Ctrl-C.
"""

# ruff: noqa: S603, S607  # commands are fixed words above, found on the PATH of whoever runs the tests

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

HERE: Final = Path(__file__).parent
POM: Final = HERE / "pom.xml"
LIBS: Final = HERE / "libs"
STAMP: Final = HERE / ".libs.sha256"
IMAGE: Final = "apache/kafka:4.1.1"
ADDRESS_VARIABLE: Final = "DETECTOR_TEST_KAFKA"
REQUIRE_VARIABLE: Final = "DETECTOR_REQUIRE_KAFKA"
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
JAVA: Final = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{LIBS}/*")
MAVEN: Final = ("mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime")

SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    # One node: no replicas, and three partitions instead of fifty for each internal topic.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "3",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "3",
    # Tests do not wait: groups start at once and may expire within a second.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # The default of 128 MiB does not fit into a small heap.
    "log.cleaner.dedupe.buffer.size": "8388608",
}


class NoKafkaError(RuntimeError):
    """Neither Java with Maven nor Docker is there, or Kafka did not start; the message says which."""


class Broker(Protocol):
    """A broker with an address, that can be stopped and started again with its data."""

    bootstrap_servers: str

    def start(self) -> None:
        """Start and wait until it answers."""

    def stop(self) -> None:
        """Stop in order, keeping the data."""

    def remove(self) -> None:
        """Stop and delete the data."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_until_ready(bootstrap_servers: str, *, timeout_s: float = START_TIMEOUT_S) -> None:
    """Return once the broker answers for topics and for groups.

    The first question about any group creates the topic of committed offsets, and a client that asks meanwhile may be
    slow to ask again; hence a new one for each try.
    """
    deadline = time.monotonic() + timeout_s
    while not _answers(bootstrap_servers):
        if time.monotonic() > deadline:
            raise NoKafkaError(f"no answer from {bootstrap_servers} within {timeout_s:.0f} s")
        time.sleep(0.2)


def _answers(bootstrap_servers: str) -> bool:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "probe", "log_level": 0})
    try:
        consumer.list_topics(timeout=1)
        consumer.committed([TopicPartition("probe", 0)], timeout=1)
    except KafkaException:
        return False
    finally:
        consumer.close()
    return True


def resolve_libs() -> None:
    """Fetch Kafka's jars with Maven, unless the ones for this very pom are there already."""
    wanted = hashlib.sha256(POM.read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted and any(LIBS.glob("*.jar")):
        return
    shutil.rmtree(LIBS, ignore_errors=True)
    _run([*MAVEN, f"-DoutputDirectory={LIBS}"])
    STAMP.write_text(wanted)


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoKafkaError(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _dying_with_us() -> Sequence[str]:
    """Prefix that makes Linux kill the broker when we are killed, or when the thread ends that started it."""
    return ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()


class JarBroker:
    """One node from the jars, in a folder and a process of its own."""

    def __init__(self) -> None:
        resolve_libs()
        port, controller = free_ports(2)
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self._folder = Path(tempfile.mkdtemp(prefix="detector-kafka-"))
        self._properties = self._folder / "server.properties"
        settings = SETTINGS | {
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://127.0.0.1:{controller}",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "log.dirs": str(self._folder / "logs"),
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        storage = [*JAVA, "kafka.tools.StorageTool"]
        cluster_id = _run([*storage, "random-uuid"]).split()[-1]
        _run([*storage, "format", "--standalone", "-t", cluster_id, "-c", str(self._properties)])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self._folder / "server.log").open("ab") as log:
            # A session of its own: Ctrl-C in the terminal must reach the tests first, not the broker under them.
            self._process = subprocess.Popen(
                [*_dying_with_us(), *JAVA, "kafka.Kafka", str(self._properties)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until_ready(self.bootstrap_servers)
        except NoKafkaError as error:
            tail = (self._folder / "server.log").read_text(errors="replace")[-2000:]
            self.remove()
            raise NoKafkaError(f"{error}; its log ends with: {tail}") from error

    def stop(self) -> None:
        """Stop in order, keeping the data."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def remove(self) -> None:
        """Kill and delete the data; nobody needs them any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
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
        self._container = _run(["docker", "create", "-p", f"{port}:{port}", *variables, IMAGE]).split()[-1]

    def start(self) -> None:
        """Start and wait until it answers."""
        _run(["docker", "start", self._container])
        wait_until_ready(self.bootstrap_servers)

    def stop(self) -> None:
        """Stop in order, keeping the data."""
        _run(["docker", "stop", self._container])

    def remove(self) -> None:
        """Remove the container with its data."""
        _run(["docker", "rm", "-f", "-v", self._container])


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
    if os.environ.get(ADDRESS_VARIABLE) or _has_jars() or _has_docker():
        return None
    return "neither Java with Maven nor a Docker daemon"


def _has_jars() -> bool:
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
    if _has_jars():
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
    """Run one until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running_broker() as broker, contextlib.suppress(KeyboardInterrupt):
        sys.stdout.write(f"{broker.bootstrap_servers}\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
