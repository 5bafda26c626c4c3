"""What is counted and told of the lines of log topics."""

import io
import json
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from detector.batches import BatchCounts, LogCounts, Output
from detector.ports import TopicPartition
from detector.telemetry import Metrics, TelemetryObserver, configure_logs
from detector.telemetry.log_lines import SHOWN_SERVICES_MAX
from detector.worker import BatchReport

TOPIC = "logs"


class Facts:
    """What a report says of its pipeline."""

    watermark_ms = 1_700_000_000_000
    series_count = 2
    open_episodes = 0

    def state_bytes(self) -> int:
        return 1_000


class Telemetry:
    """An observer with everything it writes to; its clock stands still unless it is moved."""

    def __init__(self) -> None:
        self.metrics = Metrics(CollectorRegistry())
        self.seconds = 0.0
        self.stream = io.StringIO()
        configure_logs("json", "info", self.stream)
        self.observer = TelemetryObserver(self.metrics, structlog.get_logger(), lambda: self.seconds, series_limit=100)

    def batch(self, partition: int, logs: LogCounts | None, topic: str = TOPIC) -> None:
        output = Output([], (), 10, BatchCounts(records=10), {}, logs=logs)
        self.observer.batch_processed(
            BatchReport(TopicPartition(topic, partition), output, Facts(), 0.1, 0.1, 1_000, 2_000, 61_000)
        )

    def value(self, name: str, partition: int | None = 0, **labels: str) -> float | None:
        where = {} if partition is None else {"partition": str(partition)}
        return self.metrics.registry.get_sample_value(name, {"topic": TOPIC, **where, **labels})

    def told(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def active(*services: str, keyed: bool = True) -> LogCounts:
    return LogCounts(active=set(services), keyed=keyed)


class TestCounters:
    def test_each_count_is_added_up_and_gauges_show_the_last(self, telemetry: Telemetry) -> None:
        counts = LogCounts(
            formats={"json": 7, "plain": 3},
            lines_joined=1,
            lines_other=2,
            lines_cut=3,
            lines_released=4,
            templates_created=5,
            templates_merged=6,
            templates_evicted=7,
            windows_closed=8,
            windows_skipped=9,
            templates_held=10,
            breakers_open=1,
        )
        telemetry.batch(0, counts)
        telemetry.batch(0, counts)
        expected = {
            "detector_log_lines_joined_total": 2,
            "detector_log_lines_untemplated_total": 4,
            "detector_log_lines_cut_total": 6,
            "detector_log_lines_released_total": 8,
            "detector_log_templates_held": 10,
            "detector_log_breakers_open": 1,
        }
        assert {name: telemetry.value(name) for name in expected} == expected
        changed = {
            change: telemetry.value("detector_log_templates_changed_total", change=change)
            for change in ("created", "merged", "evicted")
        }
        assert changed == {"created": 10, "merged": 12, "evicted": 14}
        assert telemetry.value("detector_log_windows_closed_total", lines="some") == 16
        assert telemetry.value("detector_log_windows_closed_total", lines="none") == 18
        assert telemetry.value("detector_log_records_decoded_total", format="json") == 14
        assert telemetry.value("detector_log_records_decoded_total", format="plain") == 6

    def test_partitions_are_counted_apart_and_those_of_metrics_not_at_all(self, telemetry: Telemetry) -> None:
        telemetry.batch(0, LogCounts(lines_joined=1))
        telemetry.batch(1, LogCounts(lines_joined=5))
        telemetry.batch(2, None, topic="metrics")
        assert telemetry.value("detector_log_lines_joined_total", 0) == 1
        assert telemetry.value("detector_log_lines_joined_total", 1) == 5
        held = [
            sample.labels["topic"]
            for metric in telemetry.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "detector_log_templates_held"
        ]
        assert held == [TOPIC, TOPIC]

    def test_a_tripped_breaker_is_counted_and_names_its_services_once_a_minute(self, telemetry: Telemetry) -> None:
        for name in ("b", "a", "a"):
            telemetry.batch(0, LogCounts(tripped=[name]))
        telemetry.seconds = 61.0
        telemetry.batch(0, LogCounts(tripped=[f"s{place}" for place in range(9)]))
        assert telemetry.value("detector_log_breakers_tripped_total") == 12
        first, second = telemetry.told("log_training_stopped")
        assert (first["services"], first["count"]) == (["b"], 1)
        assert len(second["services"]) == SHOWN_SERVICES_MAX
        assert second["count"] == 11
        assert "random" in first["cause"]


class TestSplits:
    def test_a_service_in_two_partitions_is_told_once_with_its_remedy(self, telemetry: Telemetry) -> None:
        for _ in range(3):
            telemetry.batch(0, active("shop", "cart"))
            telemetry.batch(1, active("shop", "mail"))
        assert telemetry.value("detector_log_services_split", None) == 1
        (told,) = telemetry.told("log_services_split")
        assert told["services"] == ["shop"]
        assert told["topic"] == TOPIC
        assert told["level"] == "warning"
        assert "key" in told["remedy"]

    def test_services_of_their_own_partitions_are_not_split(self, telemetry: Telemetry) -> None:
        telemetry.batch(0, active("shop"))
        telemetry.batch(1, active("cart"))
        telemetry.batch(1, LogCounts())
        assert telemetry.value("detector_log_services_split", None) == 0
        assert telemetry.told("log_services_split") == []
        assert telemetry.told("log_topic_unkeyed") == []

    def test_it_ends_where_the_next_windows_show_it_no_more(self, telemetry: Telemetry) -> None:
        telemetry.batch(0, active("shop"))
        telemetry.batch(1, active("shop"))
        telemetry.batch(1, active("cart"))
        assert telemetry.value("detector_log_services_split", None) == 0

    def test_a_topic_without_keys_is_told_where_it_has_several_partitions(self, telemetry: Telemetry) -> None:
        telemetry.batch(0, active("shop", keyed=False))
        assert telemetry.told("log_topic_unkeyed") == []
        telemetry.batch(1, active("cart", keyed=False))
        telemetry.batch(1, active("cart", keyed=False))
        (told,) = telemetry.told("log_topic_unkeyed")
        assert "key" in told["remedy"]


class TestMoves:
    def test_gauges_of_partitions_that_go_are_forgotten_beside_those_of_metrics(self, telemetry: Telemetry) -> None:
        telemetry.batch(0, active("shop"))
        telemetry.batch(1, active("shop"))
        telemetry.batch(0, None, topic="metrics")
        assert telemetry.value("detector_log_services_split", None) == 1
        gone = [TopicPartition(TOPIC, 1), TopicPartition("metrics", 0), TopicPartition("never", 5)]
        telemetry.observer.revoked(gone)
        assert telemetry.value("detector_log_templates_held", 1) is None
        assert telemetry.value("detector_log_breakers_open", 1) is None
        assert telemetry.value("detector_log_templates_held", 0) == 0
        assert telemetry.value("detector_log_services_split", None) == 0
        telemetry.observer.lost([TopicPartition(TOPIC, 0)])
        assert telemetry.value("detector_log_templates_held", 0) is None

    def test_counters_go_on_when_a_partition_comes_back(self, telemetry: Telemetry) -> None:
        telemetry.batch(0, LogCounts(lines_joined=2, templates_held=7))
        telemetry.observer.revoked([TopicPartition(TOPIC, 0)])
        telemetry.batch(0, LogCounts(lines_joined=3, templates_held=8))
        assert telemetry.value("detector_log_lines_joined_total") == 5
        assert telemetry.value("detector_log_templates_held") == 8
