"""`detector run` as a process, and what is needed to watch it from outside with a plain client."""

import copy
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Literal, Self

import psutil
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from tests.kafka.faults import Fault
from tests.kafka.forked import ForkedProcess

DEADLINE_S: Final = 60.0
NUMBERS: Final = itertools.count()
Delivery = Literal["exactly_once", "at_least_once"]
Isolation = Literal["read_committed", "read_uncommitted"]


def until(reached: Callable[[], bool], what: str, *, deadline_s: float = DEADLINE_S) -> None:
    """Wait until ``reached``; real brokers take their time, but not for ever."""
    end_s = time.monotonic() + deadline_s
    while not reached():
        if time.monotonic() > end_s:
            raise TimeoutError(f"not within {deadline_s:.0f} s: {what}")
        time.sleep(0.05)


class Stage:
    """Topics of one test: an input, events and dead letters; and the settings of workers that use them."""

    def __init__(
        self,
        bootstrap_servers: str,
        folder: Path,
        *,
        partitions: int = 2,
        replicas: int = 1,
        dead_letters: bool = True,
        state: bool = True,
        delivery: Delivery = "exactly_once",
    ) -> None:
        name = f"run-{os.getpid()}-{next(NUMBERS)}"
        self.bootstrap_servers = bootstrap_servers
        self.input = f"{name}-in"
        self.group, self.calm_group = f"{name}-group", f"{name}-calm"
        self.events, self.dead_letters, self.state = f"{name}.events", f"{name}.dlq", f"{name}.state"
        self.places = [TopicPartition(self.input, partition) for partition in range(partitions)]
        self._folder = folder
        self._prefix = name
        self._delivery = delivery
        self._replicas = replicas
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        # Idempotent, since tests know each record by its offset: a retried batch must not change places with the next.
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "linger.ms": 5, "enable.idempotence": True, "log_level": 0}
        )
        outputs = [self.events, self.dead_letters] if dead_letters else [self.events]
        self._create([NewTopic(self.input, partitions, replicas), *(NewTopic(topic, 1, replicas) for topic in outputs)])
        if state:
            self._create([NewTopic(self.state, partitions, replicas, config={"cleanup.policy": "compact"})])

    def _create(self, topics: Sequence[NewTopic]) -> None:
        # A new client each time: an older one may wait for a node that it knows as the controller and that has died.
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        for future in admin.create_topics(list(topics)).values():
            future.result(DEADLINE_S)

    def settings(self, **more: Mapping[str, object] | Sequence[object]) -> Path:
        """A settings file; ``more`` adds to the sections or replaces their keys."""
        settings: dict[str, dict[str, object]] = {
            "kafka": {
                "bootstrap_servers": self.bootstrap_servers,
                "topics": [self.input],
                "group_id": self.group,
                "session_timeout_ms": 3_000,
            },
            "output": {"prefix": self._prefix},
            "delivery": {"mode": self._delivery},
            "telemetry": {"http_host": "127.0.0.1", "http_port": 0, "log_format": "json"},
        }
        lists: dict[str, Sequence[object]] = {}
        for section, keys in more.items():
            if isinstance(keys, Mapping):
                settings.setdefault(section, {}).update(keys)
            else:
                lists[section] = keys
        if settings["kafka"].get("group_protocol") == "consumer":
            del settings["kafka"]["session_timeout_ms"]  # the brokers decide, and the test brokers alike
        path = self._folder / f"settings-{next(NUMBERS)}.yaml"
        path.write_text(json.dumps(settings | lists))  # JSON is YAML, too
        return path

    def calm_settings(self) -> tuple[Path, str]:
        """Settings of a worker that reads the same input as another group, and its topic of events."""
        prefix = f"{self._prefix}-calm"
        self._create([NewTopic(f"{prefix}.{topic}", 1, self._replicas) for topic in ("events", "dlq")])
        kafka = {"group_id": self.calm_group}
        settings = self.settings(
            kafka=kafka, output={"prefix": prefix}, state={"enabled": False}, delivery={"mode": "at_least_once"}
        )
        return settings, f"{prefix}.events"

    def transactional_id(self, pod: str) -> str:
        """Under which the worker ``pod`` writes."""
        return f"{self._prefix}-{pod}"

    def calm_twin(self) -> Self:
        """The same input with outputs, state and a group of its own, for a worker that nothing disturbs."""
        twin = copy.copy(self)
        twin._prefix = f"{self._prefix}-twin"
        twin.group = f"{twin._prefix}-group"
        twin.events, twin.dead_letters, twin.state = (f"{twin._prefix}.{name}" for name in ("events", "dlq", "state"))
        twin._create([NewTopic(topic, 1, self._replicas) for topic in (twin.events, twin.dead_letters)])
        twin._create([NewTopic(twin.state, len(self.places), self._replicas, config={"cleanup.policy": "compact"})])
        return twin

    def expire(self, before: int, partition: int = 0) -> None:
        """Let retention remove the input's records before an offset."""
        place = TopicPartition(self.input, partition, before)
        for future in self._admin.delete_records([place]).values():
            assert future.result(DEADLINE_S).low_watermark == before

    def truncate(self, topic: str) -> None:
        """Remove everything in partition 0 of a compacted topic, as retention does once it may."""
        policy = ConfigEntry("cleanup.policy", "compact,delete", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[policy])
        for altered in self._admin.incremental_alter_configs([resource]).values():
            altered.result(DEADLINE_S)
        (future,) = self._admin.delete_records([TopicPartition(topic, 0, OFFSET_END)]).values()
        assert future.result(DEADLINE_S).low_watermark > 0

    def create_state_anew(self) -> None:
        """Delete the state topic and create it again, as somebody does who wants it emptied."""
        self._admin.delete_topics([self.state])[self.state].result(DEADLINE_S)

        def created() -> bool:
            new = NewTopic(self.state, len(self.places), self._replicas, config={"cleanup.policy": "compact"})
            try:
                self._admin.create_topics([new])[self.state].result(DEADLINE_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
                return False
            return True

        until(created, "the old topic is gone")

    def write_state(self, messages: Sequence[Message]) -> list[int]:
        """Write records of the state topic once more, with whatever was set in them; gives their offsets."""
        offsets: list[int] = []

        def note(_error: KafkaError | None, message: Message) -> None:
            offsets.append(message.offset() or 0)

        for each in messages:
            self._producer.produce(
                self.state,
                each.value(),
                each.key(),
                partition=each.partition() or 0,
                headers=each.headers() or None,
                on_delivery=note,
            )
        assert self._producer.flush(DEADLINE_S) == 0
        return offsets

    def commit(self, offset: int, metadata: str = "", partition: int = 0) -> None:
        """Commit for the group, which must be empty, as an administrator does."""
        consumer = self._consumer()
        try:
            place = TopicPartition(self.input, partition, offset, metadata)
            consumer.commit(offsets=[place], asynchronous=False)
        finally:
            consumer.close()

    def forget_group(self) -> None:
        """Delete all that the group has committed, as brokers do after some days without members."""
        self._admin.delete_consumer_groups([self.group])[self.group].result(DEADLINE_S)

    def wipe_pointers(self) -> None:
        """Commit the same offsets without metadata, as an administrator's reset does; the group must be empty."""
        consumer = self._consumer()
        try:
            held = consumer.committed(self.places, timeout=DEADLINE_S)
            assert all(place.metadata for place in held if place.offset >= 0), "there were pointers"
            consumer.commit(
                offsets=[TopicPartition(place.topic, place.partition, place.offset) for place in held],
                asynchronous=False,
            )
        finally:
            consumer.close()

    def write(
        self, values: Sequence[bytes | None], *, partition: int = 0, headers: Sequence[tuple[str, bytes | None]] = ()
    ) -> None:
        """Deliver records to one partition of the input."""
        for value in values:
            self._producer.produce(
                self.input, value, b"key", partition=partition, headers=[(name, data) for name, data in headers]
            )
            self._producer.poll(0)
        assert self._producer.flush(DEADLINE_S) == 0

    def read(
        self, topic: str, *, isolation: Isolation = "read_committed", partitions: Sequence[int] = (0,)
    ) -> list[Message]:
        """Everything that stands in these partitions; ``read_uncommitted`` shows aborted records, too."""
        consumer = self._consumer(isolation=isolation)
        try:
            consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
            messages: list[Message] = []
            ended: set[int | None] = set()
            while len(ended) < len(partitions):
                for message in consumer.consume(10_000, 0.2):
                    error = message.error()
                    if error is None:
                        messages.append(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        ended.add(message.partition())
            return messages
        finally:
            consumer.close()

    def committed(self, group: str | None = None) -> list[int]:
        """The group's committed offset of each input partition; negative where there is none."""
        return [place.offset for place in self.committed_places(group)]

    def committed_places(self, group: str | None = None) -> list[TopicPartition]:
        """The same, with the text beside each offset."""
        consumer = self._consumer(group)
        try:
            return consumer.committed(self.places, timeout=DEADLINE_S)
        finally:
            consumer.close()

    def cluster_id(self) -> str:
        """Id of the cluster."""
        return str(self._admin.list_topics(timeout=DEADLINE_S).cluster_id)

    def ends(self) -> list[int]:
        """The end of each input partition."""
        consumer = self._consumer()
        try:
            return [consumer.get_watermark_offsets(place, timeout=DEADLINE_S)[1] for place in self.places]
        finally:
            consumer.close()

    def until_committed(self, worker: "WorkerRun", group: str | None = None) -> None:
        """Wait until the group has committed the end of every partition that holds records; ``worker`` must run on."""
        wanted = [end for end in self.ends() if end]

        def reached() -> bool:
            assert worker.runs(), worker.output()
            return [offset for offset in self.committed(group) if offset >= 0] == wanted

        try:
            until(reached, f"committed {wanted}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; the worker wrote: {worker.output()}") from error

    def dead_places(self) -> set[tuple[int, int]]:
        """Partition and offset of every record with a dead letter."""
        headers = [dict(message.headers() or ()) for message in self.read(self.dead_letters)]
        return {(int(each["detector-partition"] or b""), int(each["detector-offset"] or b"")) for each in headers}

    def _consumer(self, group: str | None = None, isolation: Isolation = "read_committed") -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": group or self.group,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": isolation,
                "log_level": 0,
            }
        )


class WorkerRun:
    """One `detector run`; killed at the end of the test if it still runs.

    ``pod`` stands for the host's name: workers that live at the same time must differ in it, a successor keeps it.
    With a ``fault`` it is the same worker in :mod:`tests.kafka.faulty`'s hands; ``forked`` saves the seconds of a start
    (:mod:`tests.kafka.forked`).
    """

    def __init__(self, settings: Path, *, pod: str = "pod-0", fault: Fault | None = None, forked: bool = False) -> None:
        prefix = json.loads(settings.read_text()).get("output", {}).get("prefix", "run")
        environment = {"DETECTOR_KAFKA__TRANSACTIONAL_ID": f"{prefix}-{pod}"}
        if fault is not None:
            environment |= fault.environment()
        self.pod = pod
        self._log = settings.with_suffix(f".{next(NUMBERS)}.log")
        self._process: subprocess.Popen[bytes] | ForkedProcess
        if forked:
            self._log.touch()
            self._process = ForkedProcess(settings, environment, self._log)
            return
        module = "detector" if fault is None else "tests.kafka.faulty"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own command, in a folder of the test
                [sys.executable, "-m", module, "run", "--config", settings],
                stdout=log,
                stderr=log,
                env=os.environ | environment,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.kill()
        self._process.wait()

    def output(self) -> str:
        """Everything that it wrote."""
        return self._log.read_text(errors="replace")

    def log(self, event: str) -> list[dict[str, Any]]:
        """Log lines of one kind; the last one may not be written to its end yet."""
        whole = [line for line in self.output().splitlines(keepends=True) if line.endswith("\n")]
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def until_logged(self, event: str, count: int = 1) -> None:
        """Wait until it wrote so many lines of one kind."""
        until(lambda: len(self.log(event)) >= count or not self.runs(), f"{event} in the log")
        assert len(self.log(event)) >= count, self.output()

    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def ended(self) -> int:
        """Wait for its end and give the exit code."""
        return self._process.wait(DEADLINE_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        self._process.send_signal(number)

    def exit_code(self) -> int | None:
        """Its exit code (a signal's number, negative), None while it runs."""
        return self._process.poll()

    def stopped(self) -> int:
        """Ask it to end in order (SIGTERM) and give the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.ended()

    def stands_still(self) -> bool:
        """Whether a SIGSTOP has taken hold."""
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def rss_bytes(self) -> int:
        """Memory that it has in use."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def paused(self) -> None:
        """Stop it in the middle of whatever it does (SIGSTOP)."""
        self._process.send_signal(signal.SIGSTOP)

    def resumed(self) -> None:
        """Let it go on (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    def metric(self, name: str) -> float:
        """The sum over all labels of what `/metrics` says."""
        (line,) = self.log("worker_started")
        with urllib.request.urlopen(f"http://127.0.0.1:{line['http_port']}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith((f"{name} ", f"{name}{{")))

    def ready(self) -> bool:
        """What `/readyz` says; false while nobody answers there."""
        for line in self.log("worker_started"):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{line['http_port']}/readyz", timeout=5) as answer:
                    return bool(answer.status == HTTPStatus.OK)
            except OSError:
                return False
        return False

    def killed(self) -> None:
        """End it at this very instruction."""
        self._process.kill()
        self._process.wait()
