"""``detector run`` and ``detector demo`` as processes, on the broker inside a process."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
import pytest

from detector.commands.demo_shop import FIX_MINUTE, INCIDENT, LEAK_MINUTE, shop_beats
from detector.io import ConsumerGroup, EmbeddedBroker, KafkaConnection, KafkaSink, KafkaSource
from detector.ports import Message, TopicPartition

PATIENCE_S = 40.0


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DETECTOR_")}


def until(condition: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    """Look again and again; a process that has ended will not make it true any more."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, f"the process ended with {process.returncode}"
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.05)


class Topic:
    """Reads a whole topic."""

    def __init__(self, servers: str, topic: str) -> None:
        self.values: list[bytes] = []
        self._source = KafkaSource(KafkaConnection(servers), ConsumerGroup(f"reader-{topic}", (topic,)))
        self._source.subscribe(self)

    def assigned(self, partitions: object) -> None:
        """Read whatever comes."""

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Hand over nothing."""

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Drop nothing."""

    def out_of_range(self, partition: TopicPartition, offset: int) -> None:
        raise AssertionError(f"{partition} lost {offset}")

    def count(self) -> int:
        for batch in self._source.fetch(1000, 0.1):
            self.values.extend(value for value in batch.values if value)
        return len(self.values)

    def close(self) -> None:
        self._source.close()


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        broker.create_topics("metrics", "detector.events", "detector.dlq", "detector.state")
        yield broker


def produce(servers: str, values: Sequence[bytes]) -> None:
    sink = KafkaSink(KafkaConnection(servers))
    for value in values:
        sink.send(Message("metrics", b"key", value))
    sink.flush(10)
    sink.close()


class TestRun:
    def test_it_works_serves_and_ends_with_zero_on_sigterm(self, broker: EmbeddedBroker, tmp_path: Path) -> None:
        config = {
            "kafka": {"bootstrap_servers": broker.bootstrap_servers, "topics": ["metrics"]},
            "delivery": {"mode": "at_least_once"},  # embedded brokers keep no transactions
            "telemetry": {"http_host": "127.0.0.1", "http_port": 0, "log_format": "json"},
        }
        (tmp_path / "c.yaml").write_bytes(orjson.dumps(config))
        values = [1000 if 200 <= row < 220 else row % 5 for row in range(300)]
        records = [orjson.dumps({"name": "up", "time": 60 * row, "value": value}) for row, value in enumerate(values)]
        produce(broker.bootstrap_servers, [*records, b"no metric"])
        log = tmp_path / "log"
        with log.open("w") as stderr:
            process = subprocess.Popen(  # noqa: S603  # our own command
                [sys.executable, "-m", "detector", "run", "--config", str(tmp_path / "c.yaml")],
                stderr=stderr,
                text=True,
                env=environment(),
            )
        try:
            events, letters = (
                Topic(broker.bootstrap_servers, "detector.events"),
                Topic(broker.bootstrap_servers, "detector.dlq"),
            )
            until(lambda: events.count() >= 2 and letters.count() == 1, process)
            port = orjson.loads(log.read_text().splitlines()[0])["http_port"]
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
            ready = urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10).status
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE_S)
            events.close()
            letters.close()
        finally:
            process.kill()
            process.wait()
        lines = [orjson.loads(line) for line in log.read_text().splitlines()]
        consumed = re.findall(r'^detector_records_consumed_total.*topic="metrics"} (\d+)', page, re.MULTILINE)
        assert (code, ready) == (0, 200)
        assert sum(map(int, consumed)) == 301
        assert 'reason="invalid_json"' in page
        assert letters.values == [b"no metric"]
        states = [orjson.loads(value)["data"]["state"] for value in events.values]
        assert (states[0], states[-1]) == ("opened", "closed")
        assert [lines[0]["event"], lines[-1]["event"]] == ["worker_started", "worker_stopped"]

    def test_brokers_without_transactions_end_it_with_one_and_the_remedy(
        self, broker: EmbeddedBroker, tmp_path: Path
    ) -> None:
        config = {
            "kafka": {"bootstrap_servers": broker.bootstrap_servers, "topics": ["metrics"]},
            "telemetry": {"http_host": "127.0.0.1", "http_port": 0, "log_format": "json"},
        }
        (tmp_path / "c.yaml").write_bytes(orjson.dumps(config))
        done = subprocess.run(  # noqa: S603  # our own command
            [sys.executable, "-m", "detector", "run", "--config", str(tmp_path / "c.yaml")],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env=environment(),
        )
        *lines, last = done.stderr.splitlines()
        events = [orjson.loads(line)["event"] for line in lines]
        assert done.returncode == 1
        assert "set delivery.mode: at_least_once" in last
        assert (events[0], events[-1]) == ("worker_started", "worker_stopped")


class TestTopics:
    def run(self, broker: EmbeddedBroker, prefix: str) -> "subprocess.CompletedProcess[str]":
        variables = {
            "DETECTOR_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "DETECTOR_KAFKA__TOPICS": "metrics",
            "DETECTOR_OUTPUT__PREFIX": prefix,
        }
        return subprocess.run(
            [sys.executable, "-m", "detector", "topics", "check"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env={**environment(), **variables},
        )

    def test_topics_that_exist_pass(self, broker: EmbeddedBroker) -> None:
        done = self.run(broker, "detector")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("exists with 4 partitions") == 4

    def test_a_missing_topic_fails_the_gate_with_three(self, broker: EmbeddedBroker) -> None:
        done = self.run(broker, "other")
        assert done.returncode == 3
        assert (
            done.stderr
            == "topics: missing: other.events, other.dlq, other.state; `detector topics create` makes them\n"
        )


class TestDemo:
    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603  # our own command
            [sys.executable, "-m", "detector", "demo", "--speed", "1000", *arguments],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=False,
            env={**environment(), "DETECTOR_KAFKA__BOOTSTRAP_SERVERS": "nowhere:1"},
        )

    def counts(self, done: "subprocess.CompletedProcess[str]") -> tuple[int, int]:
        """Records and episodes of the closing line, which must agree with the lines about them."""
        *lines, last = done.stdout.splitlines()
        assert (done.returncode, done.stderr) == (0, "")
        closing = re.fullmatch(r"demo: (\d+) records, (\d+) episodes opened", last)
        assert closing is not None
        assert int(closing[2]) == sum(" opened " in line for line in lines) >= 1
        return int(closing[1]), int(closing[2])

    def test_the_shop_tells_metrics_and_logs_and_what_was_found_of_its_incident(self) -> None:
        done = self.run()
        records, _ = self.counts(done)
        *lines, summary, _ = done.stdout.splitlines()
        assert records == sum(len(beat.points) + len(beat.lines) for beat in shop_beats())
        assert [line[17:] for line in lines if "(the truth)" in line] == [
            " (the truth) incident 12:40-12:52 begins: checkout leaks database connections",
            " (the truth) incident 12:40-12:52 ends with a fix",
        ]
        assert re.fullmatch(r"incident 12:40-12:52: found .+; episodes outside of it: 0", summary)
        for effect in INCIDENT.effects:
            found = re.search(re.escape(effect.name) + r" after (\d+):\d\d", summary)
            assert found is not None, summary
            assert int(found[1]) < FIX_MINUTE - LEAK_MINUTE
        told = [line for line in lines if " opened " in line]
        assert any("pool_in_use of checkout" in line for line in told)
        assert any("connection pool exhausted after <*> ms waiting" in line for line in told)

    def test_the_flow_of_water_ends_by_itself_with_real_episodes(self) -> None:
        records, _ = self.counts(self.run("--source", "water"))
        assert records == 1268

    def test_the_host_is_watched_until_it_is_interrupted(self) -> None:
        process = subprocess.Popen(  # our own command
            [sys.executable, "-m", "detector", "demo", "--source", "host", "--speed", "50"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        assert first == "demo: records are flowing\n"
        closing = re.fullmatch(r"demo: (\d+) records, \d+ episodes opened", stdout.splitlines()[-1])
        assert (process.returncode, stderr) == (0, "")
        assert closing is not None
        assert int(closing[1]) > 0
