"""Telemetry: the table of metrics, what the observer counts, logs and health."""

import io
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from detector.batches import BatchCounts, LeftOut, Output, Reject
from detector.errors import UsageError
from detector.ports import TopicPartition
from detector.telemetry import (
    METRICS,
    Health,
    HealthServer,
    Metrics,
    RareWarnings,
    TelemetryObserver,
    configure_logs,
    metrics_page,
)
from detector.telemetry.logs import SeldomRepeats
from detector.worker import BatchReport, BootstrapReport

PLACE = TopicPartition("metrics", 3)
LABELS = {"topic": "metrics", "partition": "3"}


class PipelineFacts:
    """The four facts about a pipeline that a report carries."""

    watermark_ms = 1_700_000_000_000
    series_count = 7
    open_episodes = 2

    def state_bytes(self) -> int:
        return 4096


def report(counts: BatchCounts | None = None, rejects: tuple[Reject, ...] = ()) -> BatchReport:
    output = Output([], rejects, 10, counts or BatchCounts(records=10), {"decode": 0.25, "score": 0.5})
    return BatchReport(PLACE, output, PipelineFacts(), 0.125, 0.75, 1_000, 2_000, 61_000)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Telemetry:
    """An observer with everything it writes to."""

    def __init__(self) -> None:
        self.metrics = Metrics(CollectorRegistry())
        self.clock = Clock()
        self.stream = io.StringIO()
        configure_logs("json", "info", self.stream)
        self.observer = TelemetryObserver(self.metrics, structlog.get_logger(), self.clock, series_limit=100)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


class TestTable:
    def test_every_metric_has_a_sentence_and_a_remedy(self) -> None:
        for metric in METRICS:
            assert metric.sentence.endswith("."), metric.name
            assert metric.remedy.endswith("."), metric.name

    def test_names_are_unique_and_tell_their_unit(self) -> None:
        names = [metric.name for metric in METRICS]
        assert len(set(names)) == len(names)
        for metric in METRICS:
            assert metric.name.startswith("detector_")
            assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
            if metric.unit in {"seconds", "bytes"}:
                assert metric.unit in metric.name, metric.name

    def test_labels_are_of_bounded_kinds(self) -> None:
        bounded = {
            "topic",
            "partition",
            "reason",
            "state",
            "stage",
            "change",
            "format",
            "lines",
            "version",
            "config_hash",
        }
        assert {label for metric in METRICS for label in metric.labels} <= bounded

    def test_every_metric_appears_in_the_exposition(self) -> None:
        exposed = generate_latest(Metrics.of_process().registry).decode()
        for metric in METRICS:
            assert f"# HELP {metric.name}" in exposed, metric.name

    def test_the_page_is_what_the_table_says(self) -> None:
        page = Path(__file__).parents[2] / "docs" / "metrics.md"
        assert page.read_text(encoding="utf-8") == metrics_page(), "run: python schemas/generate.py"


class TestObserver:
    def test_a_batch_is_counted_once_in_every_metric_it_concerns(self, telemetry: Telemetry) -> None:
        counts = BatchCounts(records=10, samples=12, scored=9, late=2, repeated=1, series_created=4, opened=3, closed=1)
        counts.series_expired = 6
        telemetry.observer.batch_processed(
            report(counts, (Reject(0, 5, "wrong_type", "x"), Reject(1, 6, "wrong_type", "y")))
        )
        assert telemetry.value("detector_records_consumed_total", **LABELS) == 10
        assert telemetry.value("detector_samples_decoded_total", **LABELS) == 12
        assert telemetry.value("detector_samples_scored_total", **LABELS) == 9
        assert telemetry.value("detector_samples_dropped_total", **LABELS, reason="late") == 2
        assert telemetry.value("detector_samples_dropped_total", **LABELS, reason="repeated") == 1
        assert telemetry.value("detector_records_rejected_total", **LABELS, reason="wrong_type") == 2
        assert telemetry.value("detector_series_created_total", **LABELS) == 4
        assert telemetry.value("detector_series_expired_total", **LABELS) == 6
        assert telemetry.value("detector_episodes_changed_total", **LABELS, state="opened") == 3
        assert telemetry.value("detector_episodes_changed_total", **LABELS, state="closed") == 1
        assert telemetry.value("detector_series_held", **LABELS) == 7
        assert telemetry.value("detector_episodes_open", **LABELS) == 2
        assert telemetry.value("detector_state_held_bytes", **LABELS) == 4096
        assert telemetry.value("detector_watermark_reached_seconds", **LABELS) == 1_700_000_000
        assert telemetry.value("detector_stage_spent_seconds_total", **LABELS, stage="score") == 0.5
        assert telemetry.value("detector_batch_processed_seconds_sum") == 0.75
        assert telemetry.value("detector_fetch_waited_seconds_total") == 0.125
        assert telemetry.value("detector_event_delayed_seconds_sum", topic="metrics") == 60

    def test_gauges_of_a_revoked_partition_vanish_and_its_counters_go_on(self, telemetry: Telemetry) -> None:
        telemetry.observer.assigned([PLACE])
        telemetry.observer.batch_processed(report())
        telemetry.observer.lags_measured({PLACE: 50})
        assert telemetry.value("detector_consumer_lag_records", **LABELS) == 50
        telemetry.observer.revoked([PLACE])
        assert telemetry.value("detector_consumer_lag_records", **LABELS) is None
        assert telemetry.value("detector_series_held", **LABELS) is None
        assert telemetry.value("detector_partitions_owned") == 0
        telemetry.observer.assigned([PLACE])
        telemetry.observer.batch_processed(report())
        assert telemetry.value("detector_records_consumed_total", **LABELS) == 20
        assert telemetry.value("detector_partitions_moved_total", change="assigned") == 2

    def test_a_partition_that_was_never_used_can_be_lost(self, telemetry: Telemetry) -> None:
        telemetry.observer.assigned([PLACE])
        telemetry.observer.lost([PLACE])
        assert telemetry.value("detector_partitions_moved_total", change="lost") == 1
        assert telemetry.lines()[-1]["event"] == "partitions_lost"
        assert telemetry.lines()[-1]["level"] == "warning"

    def test_holds_and_commits_are_counted(self, telemetry: Telemetry) -> None:
        telemetry.observer.held()
        assert telemetry.value("detector_hold_active") == 1
        telemetry.observer.released()
        telemetry.observer.committed(0.25)
        telemetry.observer.commit_postponed("coordinator moved")
        assert telemetry.value("detector_hold_active") == 0
        assert telemetry.value("detector_holds_begun_total") == 1
        assert telemetry.value("detector_offsets_committed_seconds_sum") == 0.25
        assert telemetry.value("detector_commits_postponed_total") == 1

    def test_evictions_are_warned_of_once_a_minute_with_their_count(self, telemetry: Telemetry) -> None:
        for _ in range(5):
            telemetry.observer.batch_processed(report(BatchCounts(records=1, series_evicted=3)))
        telemetry.clock.seconds = 60
        telemetry.observer.batch_processed(report(BatchCounts(records=1, series_evicted=3)))
        told = [(line["event"], line["count"], line["limit"]) for line in telemetry.lines()]
        assert told == [("series_evicted", 3, 100), ("series_evicted", 15, 100)]
        assert telemetry.value("detector_series_evicted_total", **LABELS) == 18

    def test_what_was_not_told_is_told_at_the_end(self, telemetry: Telemetry) -> None:
        for _ in range(2):
            telemetry.observer.batch_processed(report(rejects=(Reject(0, 5, "empty", "a tombstone"),)))
        telemetry.observer.stopped("requested")
        told = [(line["event"], line.get("count")) for line in telemetry.lines()]
        assert told == [("records_rejected", 1), ("records_rejected", 1), ("worker_stopped", None)]


class TestLogs:
    def test_a_line_is_one_json_object_with_time_level_and_event_first(self, telemetry: Telemetry) -> None:
        structlog.get_logger().warning("series_evicted", topic="t", path=Path("x"))
        line = telemetry.stream.getvalue()
        assert list(json.loads(line)) == ["time", "level", "event", "topic", "path"]
        assert line.count("\n") == 1

    def test_lines_of_other_libraries_take_the_same_form(self, telemetry: Telemetry) -> None:
        logging.getLogger("detector.librdkafka").warning("broker %s", "down")
        (line,) = telemetry.lines()
        assert (line["event"], line["level"], line["logger"]) == ("broker down", "warning", "detector.librdkafka")

    def test_an_exception_is_part_of_its_line(self, telemetry: Telemetry) -> None:
        try:
            raise ValueError("boom")  # noqa: TRY301  # an exception is what is wanted
        except ValueError:
            structlog.get_logger().exception("worker_failed")
        (line,) = telemetry.lines()
        assert "boom" in json.dumps(line["exception"])

    def test_levels_below_the_one_set_are_left_out(self) -> None:
        stream = io.StringIO()
        configure_logs("console", "warning", stream)
        structlog.get_logger().info("quiet")
        structlog.get_logger().warning("loud")
        assert "loud" in stream.getvalue()
        assert "quiet" not in stream.getvalue()

    def test_rare_warnings_of_two_partitions_do_not_hide_each_other(self, telemetry: Telemetry) -> None:
        rare = RareWarnings(structlog.get_logger(), telemetry.clock)
        rare.add("series_evicted", "t", 0, 1)
        rare.add("series_evicted", "t", 1, 1)
        assert [line["partition"] for line in telemetry.lines()] == [0, 1]

    def test_a_client_that_repeats_itself_is_heard_once_a_minute(self) -> None:
        clock, stream = Clock(), io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.addFilter(SeldomRepeats("client", clock))
        client, other = logging.getLogger("client"), logging.getLogger("other")
        for logger in (client, other):
            logger.propagate = False
            logger.addHandler(handler)
        for second in (0, 1, 59, 60):
            clock.seconds = second
            client.error("FAIL [consumer-1] refused after %d s", second)
            client.error("FAIL [producer-1] refused after %d s", second)
            other.error("said at %d s", second)
        lines = stream.getvalue().splitlines()
        assert [line for line in lines if "consumer" in line] == [
            "FAIL [consumer-1] refused after 0 s",
            "FAIL [consumer-1] refused after 60 s",
        ]
        assert sum("producer" in line for line in lines) == 2
        assert sum("said" in line for line in lines) == 4


class Facts:
    """What health is asked about."""

    def __init__(self) -> None:
        self.age_s = 0.5
        self.ready = False


@pytest.fixture
def facts() -> Facts:
    return Facts()


@pytest.fixture
def server(facts: Facts) -> Iterator[HealthServer]:
    health = Health(lambda: facts.age_s, 10.0, lambda: facts.ready)
    server = HealthServer("127.0.0.1", 0, Metrics(CollectorRegistry()).registry, health)
    yield server
    server.close()


def get(server: HealthServer, path: str, accept: str = "*/*") -> tuple[int, str, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310  # our own server
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


class TestHealth:
    def test_metrics_can_be_parsed_by_prometheus(self, server: HealthServer) -> None:
        status, content_type, text = get(server, "/metrics")
        assert (status, content_type.split(";")[0]) == (200, "text/plain")
        families = {family.name for family in text_string_to_metric_families(text)}
        assert {metric.name.removesuffix("_total") for metric in METRICS} <= families

    def test_openmetrics_is_served_where_it_is_asked_for(self, server: HealthServer) -> None:
        _, content_type, text = get(server, "/metrics", "application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")

    def test_the_loop_is_alive_while_it_turns(self, server: HealthServer, facts: Facts) -> None:
        assert get(server, "/healthz")[0] == 200
        facts.age_s = 10.5
        assert get(server, "/healthz")[::2] == (503, "the loop has not turned for 10.5 s (limit 10.0 s)\n")

    def test_it_is_ready_once_the_group_was_joined(self, server: HealthServer, facts: Facts) -> None:
        assert get(server, "/readyz")[0] == 503
        facts.ready = True
        assert get(server, "/readyz")[::2] == (200, "ready\n")

    def test_any_other_path_is_not_found(self, server: HealthServer) -> None:
        assert get(server, "/")[0] == 404

    def test_a_port_that_is_taken_is_a_fault_of_usage(self, server: HealthServer) -> None:
        health = Health(lambda: 0.0, 1.0, lambda: True)
        with pytest.raises(UsageError, match="cannot listen there"):
            HealthServer("127.0.0.1", server.port, CollectorRegistry(), health)


class TestKeptModels:
    def test_snapshots_restores_replays_and_losses_are_counted(self, telemetry: Telemetry) -> None:
        telemetry.observer.snapshot_written(PLACE, 4096, 0.5)
        telemetry.observer.snapshot_failed(PLACE, "no leader")
        telemetry.observer.restored(PLACE, 0.25, 10, 30)
        telemetry.observer.restore_postponed(PLACE, "no answer")
        telemetry.observer.replayed(PLACE, 20)
        telemetry.observer.models_left_out(PLACE, LeftOut("size_limit", 7, "too large"))
        telemetry.observer.state_lost(PLACE, "other settings", 7)
        assert telemetry.value("detector_models_left_out_total", **LABELS, reason="size_limit") == 7
        assert telemetry.value("detector_snapshots_written_total", **LABELS) == 1
        assert telemetry.value("detector_snapshots_failed_total", **LABELS) == 1
        assert telemetry.value("detector_snapshot_written_bytes", **LABELS) == 4096
        assert telemetry.value("detector_snapshot_written_seconds_sum") == 0.5
        assert telemetry.value("detector_partition_restored_seconds_sum") == 0.25
        assert telemetry.value("detector_records_replayed_total", **LABELS) == 20
        assert telemetry.value("detector_states_lost_total", **LABELS) == 1
        assert telemetry.value("detector_records_lost_total", **LABELS) == 7

    def test_a_bootstrap_is_counted_and_told_every_ten_seconds(self, telemetry: Telemetry) -> None:
        telemetry.observer.bootstrap_begun(PLACE, "topic", 100, 1_100)
        for second in range(25):
            telemetry.clock.seconds = float(second)
            telemetry.observer.bootstrap_advanced(PLACE, "topic", 40, second / 25)
        report = BootstrapReport("topic", 1_000, {"invalid_json": 3}, opened=2, updated=1, seconds=25.0)
        telemetry.observer.bootstrap_ended(PLACE, report)
        begun, *advanced, ended = telemetry.lines()
        assert (begun["event"], begun["stage"], begun["offset"], begun["replay_until"]) == (
            "bootstrap_begun",
            "topic",
            100,
            1_100,
        )
        assert [(line["event"], line["percent"], line["records_per_second"]) for line in advanced] == [
            ("bootstrap_advanced", 40.0, 44),
            ("bootstrap_advanced", 80.0, 40),
        ]
        assert (ended["event"], ended["records"], ended["rejected"], ended["episodes_told"], ended["seconds"]) == (
            "bootstrap_ended",
            1_000,
            {"invalid_json": 3},
            2,
            25.0,
        )
        assert telemetry.value("detector_records_bootstrapped_total", **LABELS) == 1_000
        assert telemetry.value("detector_bootstrap_rejected_total", **LABELS, reason="invalid_json") == 3
        assert telemetry.value("detector_episodes_changed_total", **LABELS, state="opened") == 2
        assert telemetry.value("detector_episodes_changed_total", **LABELS, state="updated") == 1

    def test_what_an_operator_should_see_is_logged_with_its_reason(self, telemetry: Telemetry) -> None:
        telemetry.observer.snapshot_failed(PLACE, "no leader")
        telemetry.observer.models_left_out(PLACE, LeftOut("size_limit", 7, "too large"))
        telemetry.observer.state_lost(PLACE, "other settings", 0)
        lines = [(line["level"], line["event"], line["partition"], line["reason"]) for line in telemetry.lines()]
        assert lines == [
            ("warning", "snapshot_failed", "metrics[3]", "no leader"),
            ("warning", "models_left_out", "metrics[3]", "size_limit"),
            ("warning", "state_lost", "metrics[3]", "other settings"),
        ]
