"""`detector run` on real Apache Kafka: groups, signals, poison, outages.

Poison records tell whether anything was lost: each must be in the dead letters, at least once, whatever happened in
between.
"""

import json
import random
from pathlib import Path

import pytest

from tests.kafka.broker import Broker, RunningBroker
from tests.kafka.workers import Stage, WorkerRun, until
from tests.streams import record

pytestmark = pytest.mark.kafka

POISON = b"{poison"


def metrics(seed: int, count: int, *, start: int = 0, series: int = 5, poison_every: int = 50) -> list[bytes | None]:
    """Quiet series by the minute, with a poison record in between now and then."""
    chance = random.Random(seed)
    values: list[bytes | None] = []
    for number in range(start, start + count):
        minute, host = divmod(number, series)
        value = record("load", 1_700_000_000 + 60 * minute, 10 + chance.random(), {"host": f"h{host}"})
        values.append(POISON if poison_every and number % poison_every == 7 else value)
    return values


def poisoned(stage: Stage, count: int, poison_every: int = 50) -> set[tuple[int, int]]:
    return {
        (place.partition, offset) for place in stage.places for offset in range(count) if offset % poison_every == 7
    }


class TestOneWorker:
    def test_ends_in_order_with_everything_processed_committed(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        for partition in range(2):
            stage.write(metrics(partition, 5_000), partition=partition)
        with WorkerRun(stage.settings()) as worker:
            stage.until_committed(worker)
            stage.write(metrics(9, 500, start=5_000), partition=1)
            assert worker.stopped() == 0
        committed = stage.committed()
        assert committed[0] == 5_000
        processed = {place for place in poisoned(stage, 5_500) if place[1] < committed[place[0]]}
        assert stage.dead_places() == processed

    def test_emits_an_episode_that_names_its_source(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
        values = metrics(1, 5_000, poison_every=0)
        for minute in range(900, 920):
            values[5 * minute] = record("load", 1_700_000_000 + 60 * minute, 900, {"host": "h0"})
        stage.write(values)
        with WorkerRun(stage.settings()) as worker:
            stage.until_committed(worker)
            assert worker.stopped() == 0
        messages = stage.read(stage.events)
        assert messages
        assert all(dict(m.headers() or ())["content-type"] == b"application/cloudevents+json" for m in messages)
        anomalies = [json.loads(message.value() or b"")["data"] for message in messages]
        opened = [anomaly for anomaly in anomalies if anomaly["state"] == "opened"]
        assert {anomaly["series"]["labels"]["host"] for anomaly in opened} == {"h0"}
        assert opened[0]["provenance"]["input_topic"] == stage.input

    def test_sends_poison_on_with_its_bytes_and_the_reason(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
        poison: dict[bytes | None, bytes] = {
            b"\xff\x00{": b"invalid_json",
            b'{"labels":{},"time":1}': b"missing_field",
            b'{"name":"a","labels":{},"time":1,"value":"high"}': b"wrong_type",
            b'{"name":"a","labels":{},"time":"tomorrow","value":1}': b"time_unreadable",
            b'{"name":"a","labels":{},"time":4000000000,"value":1}': b"too_far_ahead",
            None: b"empty",
        }
        stage.write(metrics(2, 100, poison_every=0))
        stage.write(list(poison), headers=[("trace", b"\x01\xff")])
        with WorkerRun(stage.settings()) as worker:
            stage.until_committed(worker)
            assert worker.stopped() == 0
        letters = stage.read(stage.dead_letters)
        assert [letter.value() for letter in letters] == list(poison)
        for offset, letter in enumerate(letters, start=100):
            headers = dict(letter.headers() or ())
            assert letter.key() == b"key"
            assert headers["trace"] == b"\x01\xff"
            assert headers["detector-reason"] == poison[letter.value()]
            assert headers["detector-detail"]
            assert (headers["detector-topic"], headers["detector-offset"]) == (stage.input.encode(), b"%d" % offset)

    def test_stops_loudly_when_most_records_are_poison(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
        stage.write([POISON] * 3_000)
        with WorkerRun(stage.settings(dead_letters={"window_records": 1_000})) as worker:
            assert worker.ended() == 1
            assert f"records of {stage.input}[0] were rejected" in worker.output()
        assert stage.read(stage.dead_letters) == []
        assert stage.committed() == [-1001]

    def test_stops_rather_than_drops_without_a_topic_for_dead_letters(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1, dead_letters=False)
        stage.write(metrics(3, 100))
        impatient = {"librdkafka_producer": {"topic.metadata.propagation.max.ms": 500}}
        with WorkerRun(stage.settings(kafka=impatient)) as worker:
            assert worker.ended() == 1
            assert f"a message to {stage.dead_letters} was not delivered" in worker.output()
        assert stage.committed() == [-1001]

    def test_stops_with_the_broker_s_words_when_its_topic_is_unknown(self, kafka: Broker, tmp_path: Path) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
        with WorkerRun(stage.settings(kafka={"topics": ["no-such-topic"]})) as worker:
            assert worker.ended() == 1
            assert "no-such-topic" in worker.output()
            assert "Unknown topic or partition" in worker.output()


every_protocol = pytest.mark.parametrize("protocol", ["classic", "consumer"])
classic_first = pytest.mark.parametrize("protocol", ["classic", pytest.param("consumer", marks=pytest.mark.chaos)])
consumer_first = pytest.mark.parametrize("protocol", ["consumer", pytest.param("classic", marks=pytest.mark.chaos)])
"""Where one of the two takes ten seconds, the other waits for `make chaos`."""


class TestGroup:
    @every_protocol
    def test_a_second_worker_shares_and_a_leaver_hands_over(self, kafka: Broker, tmp_path: Path, protocol: str) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        settings = stage.settings(kafka={"group_protocol": protocol})
        for partition in range(2):
            stage.write(metrics(4, 2_000), partition=partition)
        with WorkerRun(settings) as first, WorkerRun(settings, pod="pod-1") as second:
            until(lambda: _owns(first) == 1 and _owns(second) == 1, "one partition each")
            for partition in range(2):
                stage.write(metrics(5, 2_000, start=2_000), partition=partition)
            stage.until_committed(second)
            assert first.stopped() == 0
            until(lambda: _owns(second) == 2, "both partitions")
            for partition in range(2):
                stage.write(metrics(6, 1_000, start=4_000), partition=partition)
            stage.until_committed(second)
            assert second.stopped() == 0
        assert stage.committed() == [5_000, 5_000]
        assert stage.dead_places() == poisoned(stage, 5_000)

    @consumer_first
    def test_a_killed_worker_loses_nothing(self, kafka: Broker, tmp_path: Path, protocol: str) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        settings = stage.settings(
            kafka={"group_protocol": protocol}, worker={"batch_records_max": 100, "commit_interval_s": 0.05}
        )
        for partition in range(2):
            stage.write(metrics(7, 20_000), partition=partition)
        with WorkerRun(settings) as first:
            until(lambda: max(stage.committed()) > 0, "a first commit")
            first.killed()
        with WorkerRun(settings) as second:
            stage.until_committed(second)
            assert second.stopped() == 0
        assert stage.dead_places() == poisoned(stage, 20_000)

    @classic_first
    def test_a_worker_that_was_away_too_long_drops_what_it_had_and_joins_again(
        self, kafka: Broker, tmp_path: Path, protocol: str
    ) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        settings = stage.settings(kafka={"group_protocol": protocol})
        for partition in range(2):
            stage.write(metrics(10, 2_000), partition=partition)
        with WorkerRun(settings) as first:
            stage.until_committed(first)
            first.paused()
            with WorkerRun(settings, pod="pod-1") as second:
                until(lambda: _owns(second) == 2, "the second worker has both partitions")
                for partition in range(2):
                    stage.write(metrics(11, 2_000, start=2_000), partition=partition)
                stage.until_committed(second)
                first.resumed()
                first.until_logged("partitions_lost")
                until(lambda: _owns(first) == 1 and _owns(second) == 1, "one partition each")
                for partition in range(2):
                    stage.write(metrics(12, 1_000, start=4_000), partition=partition)
                stage.until_committed(first)
                assert first.stopped() == 0
                assert second.stopped() == 0
        assert stage.dead_places() == poisoned(stage, 5_000)

    @consumer_first
    def test_a_spare_worker_is_ready_and_takes_over(self, kafka: Broker, tmp_path: Path, protocol: str) -> None:
        stage = Stage(kafka.bootstrap_servers, tmp_path, partitions=1)
        settings = stage.settings(kafka={"group_protocol": protocol})
        stage.write(metrics(13, 1_000))
        with WorkerRun(settings) as first:
            stage.until_committed(first)
            with WorkerRun(settings, pod="pod-1") as spare:
                until(spare.ready, "a spare is ready")
                assert _owns(spare) == 0
                first.killed()
                stage.write(metrics(13, 1_000, start=1_000))
                stage.until_committed(spare)
                assert spare.stopped() == 0
        assert stage.dead_places() == poisoned(stage, 2_000)


class TestOutage:
    def test_a_worker_waits_for_its_brokers_and_goes_on(self, kafka: Broker, tmp_path: Path) -> None:
        if isinstance(kafka, RunningBroker):
            pytest.skip("a broker named by the environment cannot be stopped from here")
        stage = Stage(kafka.bootstrap_servers, tmp_path)
        stage.write(metrics(8, 2_000))
        with WorkerRun(stage.settings(kafka={"librdkafka": {"socket.timeout.ms": 2_000}})) as worker:
            stage.until_committed(worker)
            kafka.stop()
            try:
                worker.until_logged("consumer_error_waited")
            finally:
                kafka.start()
            stage.write(metrics(9, 2_000, start=2_000))
            stage.until_committed(worker)
            assert worker.runs()
            assert worker.stopped() == 0
        assert stage.dead_places() == {place for place in poisoned(stage, 4_000) if place[0] == 0}

    @pytest.mark.chaos
    def test_a_worker_that_starts_before_its_brokers_waits(self, tmp_path: Path) -> None:
        settings = tmp_path / "settings.yaml"
        settings.write_text(
            json.dumps(
                {
                    "kafka": {"bootstrap_servers": "127.0.0.1:1", "topics": ["in"]},
                    "telemetry": {"http_host": "127.0.0.1", "http_port": 0, "log_format": "json"},
                }
            )
        )
        with WorkerRun(settings) as worker:
            worker.until_logged("consumer_error_waited")
            assert worker.stopped() == 0


def _owns(worker: WorkerRun) -> int:
    """How many partitions it owns, by its own log."""
    change = {"partitions_assigned": 1, "partitions_revoked": -1, "partitions_lost": -1}
    return sum(sign * len(line["partitions"]) for event, sign in change.items() for line in worker.log(event))
