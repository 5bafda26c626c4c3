"""What a real broker is made of: Kafka's jars, its settings, a process."""

# ruff: noqa: S603  # commands are fixed words above, found on the PATH of whoever runs the tests

import base64
import contextlib
import fcntl
import hashlib
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

HERE: Final = Path(__file__).parent
POM: Final = HERE / "pom.xml"
LIBS: Final = HERE / "libs"
STAMP: Final = HERE / ".libs.sha256"
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
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
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "3000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
    # The default of 128 MiB does not fit into a small heap.
    "log.cleaner.dedupe.buffer.size": "8388608",
}


class NoKafkaError(RuntimeError):
    """Neither Java with Maven nor Docker is there, or Kafka did not start; the message says which."""


def java(heap_mb: int = 512) -> Sequence[str]:
    """Command that runs a class from the jars."""
    return ("java", f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{LIBS}/*")


def cluster_id() -> str:
    """A new id, as Kafka writes them: 16 random bytes in URL-safe base 64."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1)


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
    """Fetch Kafka's jars with Maven, unless the ones for this very pom are there already; one process at a time."""
    wanted = hashlib.sha256(POM.read_bytes()).hexdigest()
    with POM.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if STAMP.exists() and STAMP.read_text() == wanted and any(LIBS.glob("*.jar")):
            return
        shutil.rmtree(LIBS, ignore_errors=True)
        run([*MAVEN, f"-DoutputDirectory={LIBS}"])
        STAMP.write_text(wanted)


def run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoKafkaError(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def dying_with_us() -> Sequence[str]:
    """Prefix that makes Linux kill the broker when we are killed, or when the thread ends that started it."""
    return ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()


def as_properties(settings: Mapping[str, str]) -> str:
    """Write settings in Java's format."""
    return "".join(f"{name}={value}\n" for name, value in settings.items())


class JarNode:
    """One process from the jars; its settings, data and log lie in ``folder``."""

    def __init__(self, folder: Path, settings: Mapping[str, str], *, heap_mb: int = 512) -> None:
        folder.mkdir(exist_ok=True)
        self.properties = folder / "server.properties"
        self.properties.write_text(as_properties({**settings, "log.dirs": str(folder / "logs")}))
        self.logs = folder / "logs"
        self._log = folder / "server.log"
        self._heap_mb = heap_mb
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start without waiting."""
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal must reach the tests first, not the broker under them.
            self._process = subprocess.Popen(
                [*dying_with_us(), *java(self._heap_mb), "kafka.Kafka", str(self.properties)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None, "started first"
        self._process.send_signal(number)

    def stop(self) -> None:
        """Stop in order."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it at this very instruction."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log_tail(self) -> str:
        """The last that it wrote."""
        return self._log.read_text(errors="replace")[-2000:]
