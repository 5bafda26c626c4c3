"""What the documents name exists: metrics, log events, settings with their defaults, errors, commands, links."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from prometheus_client import CollectorRegistry
from typer.main import get_command

from detector import errors
from detector.batches import LEFT_OUT_REASONS, REJECT_REASONS, BatchCounts, Output, Reject
from detector.cli import app
from detector.encoders import schema_documents
from detector.errors import DetectorError, GateFailedError, StopWorkerError, UsageError
from detector.ports import TopicPartition
from detector.settings import Settings, settings_schema
from detector.telemetry import METRICS, Metrics, TelemetryObserver
from detector.wiring import PipelineFactory
from detector.worker import BatchReport

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "detector"
RUNBOOK: Final = "docs/runbook.md"
DOCUMENTS: Final = (RUNBOOK, "README.md", "docs/architecture.md")
PAGES: Final = ("README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")))

FENCED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PROMQL: Final = re.compile(r"^```promql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE: Final = re.compile(r"`([^`\n]+)`")
DOTTED: Final = re.compile(r"[a-z_]+(?:\[\])?(?:\.[a-z_]+(?:\[\])?)+")
SNAKE: Final = re.compile(r"[a-z]+(?:_[a-z]+)+")
LINK: Final = re.compile(r"\]\(([^)\s]+)\)")

every_document = pytest.mark.parametrize("name", DOCUMENTS)
every_page = pytest.mark.parametrize("name", PAGES)


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def code_in(name: str) -> list[str]:
    """What stands between backticks in the running text."""
    return INLINE.findall(FENCED.sub("", text_of(name)))


def metric_names() -> dict[str, tuple[str, ...]]:
    """Every series that a scrape can hold, with its labels."""
    found: dict[str, tuple[str, ...]] = {}
    for metric in METRICS:
        if metric.kind == "histogram":
            found |= {f"{metric.name}_{part}": metric.labels for part in ("sum", "count")}
            found[f"{metric.name}_bucket"] = (*metric.labels, "le")
        found[metric.name] = metric.labels
    return found


SCHEMA: Final = settings_schema()
EVENTS: Final = json.loads(schema_documents()["anomaly.v1.json"])


def find(schema: Any, path: str) -> Any:
    """The node of a JSON Schema at a dotted path, where ``name[]`` steps into a list; None where there is none."""
    node = schema
    for part in path.split("."):
        node = _properties(schema, node).get(part.removesuffix("[]"))
        if node is None:
            return None
        if part.endswith("[]"):
            node = node["items"]
    return node


def _properties(schema: Any, node: Any) -> dict[str, Any]:
    """Properties of a node, through references and alternatives."""
    found = dict(node.get("properties", {}))
    if "$ref" in node:
        found |= _properties(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[-1]])
    for alternative in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        found |= _properties(schema, alternative)
    return found


def setting_words() -> set[str]:
    """Every key of every section."""
    return {key for node in (SCHEMA, *SCHEMA["$defs"].values()) for key in node.get("properties", {})}


def observed_events() -> set[str]:
    """Log events of the observer, by letting everything happen to it once."""
    place = TopicPartition("metrics", 0)
    counts = BatchCounts(records=1, series_evicted=1, learner_failures=1, aliases_cleared=1)
    output = Output([], [Reject(0, 0, "empty", "nothing")], 1, counts)
    report = BatchReport(place, output, PipelineFactory(Settings())(place), 0.0, 0.0, 0, 0, 0)
    with structlog.testing.capture_logs() as lines:
        observer = TelemetryObserver(Metrics(CollectorRegistry()), structlog.get_logger(), lambda: 0.0, series_limit=1)
        observer.assigned([place])
        observer.batch_processed(report)
        observer.commit_postponed("why")
        observer.held()
        observer.released()
        observer.revoked([place])
        observer.assigned([place])
        observer.batch_processed(report)
        observer.lost([place])
        observer.stopped("requested")
    return {str(line["event"]) for line in lines}


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                yield name, node


def logged() -> tuple[set[str], set[str]]:
    """Log events written with a literal name anywhere in the package or seen at the observer, and their fields."""
    events, fields = observed_events(), {"count", "left_out", "event"}
    for name, call in _calls():
        literals = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        if name in {"debug", "info", "warning", "error", "add"} and literals and SNAKE.fullmatch(literals[0]):
            events.add(literals[0])
            fields |= {keyword.arg for keyword in call.keywords if keyword.arg}
        elif name == "SeldomLog":
            events |= set(literals)
    return events, fields


class TestMetrics:
    @every_document
    def test_every_metric_that_is_named_exists(self, name: str) -> None:
        named = set(re.findall(r"\bdetector_[a-z_]+\b", text_of(name)))
        assert named <= set(metric_names())

    def test_the_client_librarys_metrics_exist_too(self) -> None:
        of_process = {family.name for family in Metrics.of_process().registry.collect()}
        named = set(re.findall(r"\bprocess_[a-z_]+\b", text_of(RUNBOOK)))
        assert len(named) >= 2
        assert {metric.removesuffix("_total") for metric in named} <= of_process

    def test_queries_use_labels_that_the_metrics_have(self) -> None:
        queries = [*PROMQL.findall(text_of(RUNBOOK)), *(code for code in code_in(RUNBOOK) if " by (" in code)]
        lines = [line for query in queries for line in query.splitlines() if line and not line.startswith("#")]
        assert len(lines) >= 8
        for line in lines:
            assert line.count("(") == line.count(")")
            for part in line.split(" / "):
                metrics = re.findall(r"\bdetector_[a-z_]+\b", part)
                grouped = [
                    label.strip() for labels in re.findall(r"by \(([^)]*)\)", part) for label in labels.split(",")
                ]
                chosen = re.findall(r"[{,]\s*(\w+)=", part)
                for metric in metrics:
                    assert {*grouped, *chosen} <= set(metric_names()[metric]), line


class TestLogEvents:
    def test_every_word_of_the_runbook_that_looks_like_code_is_known(self) -> None:
        events, fields = logged()
        labels = {label for metric in METRICS for label in metric.labels}
        known = {*events, *fields, *labels, *REJECT_REASONS, *LEFT_OUT_REASONS, *setting_words(), *metric_names()}
        words = {code for code in code_in(RUNBOOK) if SNAKE.fullmatch(code) and not code.startswith("process_")}
        assert words <= known

    def test_every_log_event_stands_in_the_runbook(self) -> None:
        events, _ = logged()
        assert {"worker_started", "partitions_lost", "producer_error_waited", "records_rejected"} <= events
        assert events <= set(code_in(RUNBOOK))

    def test_what_is_called_a_log_event_is_one(self) -> None:
        events, _ = logged()
        called = re.findall(r"\b[Ll]ogs?\s+`(\w+)`", text_of(RUNBOOK))
        assert len(called) >= 10
        assert set(called) <= events

    def test_every_reason_of_a_reject_is_explained(self) -> None:
        assert set(REJECT_REASONS) <= set(re.findall(r"^\| `(\w+)` \|", text_of(RUNBOOK), re.MULTILINE))

    def test_every_reason_of_a_model_left_out_is_explained(self) -> None:
        assert set(LEFT_OUT_REASONS) <= set(re.findall(r"^- `(\w+)`:", text_of(RUNBOOK), re.MULTILINE))


class TestSettings:
    @every_document
    def test_every_key_that_is_named_exists(self, name: str) -> None:
        sections = set(SCHEMA["properties"])
        keys = [code for code in code_in(name) if DOTTED.fullmatch(code) and re.split(r"[.\[]", code)[0] in sections]
        assert [key for key in keys if find(SCHEMA, key) is None] == []

    def test_the_runbook_names_many(self) -> None:
        assert len({code for code in code_in(RUNBOOK) if DOTTED.fullmatch(code) and find(SCHEMA, code)}) >= 25

    def test_numbers_in_brackets_behind_a_key_are_its_default(self) -> None:
        told = re.findall(r"`([a-z_.\[\]]+)`\s+\(([\d,.]+\d)(?: s)?\)", text_of(RUNBOOK))
        told = [(key, float(number.replace(",", ""))) for key, number in told if find(SCHEMA, key)]
        assert len(told) >= 8
        assert told == [(key, find(SCHEMA, key)["default"]) for key, _ in told]

    @every_document
    def test_environment_variables_name_settings(self, name: str) -> None:
        for variable in re.findall(r"\bDETECTOR_([A-Z_]+__[A-Z_]+)\b", text_of(name)):
            assert find(SCHEMA, variable.lower().replace("__", ".")) is not None

    def test_fields_of_events_exist(self) -> None:
        fields = [code for code in code_in(RUNBOOK) if code.startswith("data.")]
        assert len(fields) >= 3
        assert [field for field in fields if find(EVENTS, field) is None] == []


class TestErrorsAndCommands:
    def test_every_error_that_is_named_exists_and_stops_a_worker(self) -> None:
        named = set(re.findall(r"\b(\w+Error)\b", text_of(RUNBOOK)))
        assert len(named) >= 3
        for name in named:
            assert issubclass(getattr(errors, name), StopWorkerError)

    def test_exit_codes_are_those_of_the_errors(self) -> None:
        meanings = dict(re.findall(r"^\| (\d+) \| ([^|]*) \|", text_of(RUNBOOK), re.MULTILINE))
        assert list(meanings) == ["0", "1", "2", "3", "137"]
        assert DetectorError.exit_code == 1
        assert "settings" in meanings[str(UsageError.exit_code)]
        assert "check" in meanings[str(GateFailedError.exit_code)]

    @every_document
    def test_commands_exist_with_their_options(self, name: str) -> None:
        group: Any = get_command(app)
        fenced = re.findall(r"^(?:\.venv/bin/)?(detector [a-z].*)$", text_of(name), re.MULTILINE)
        for typed in (*fenced, *(code for code in code_in(name) if code.startswith("detector "))):
            words = typed.split("#")[0].split()[1:]
            command = group
            while words and hasattr(command, "commands"):
                command = command.commands[words.pop(0)]
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("-")} <= options, typed


class TestLinks:
    @every_page
    def test_lead_somewhere(self, name: str) -> None:
        for link in LINK.findall(FENCED.sub("", text_of(name))):
            if "://" in link:
                continue
            file, _, anchor = link.partition("#")
            target = (ROOT / name).parent / file if file else ROOT / name
            assert target.exists(), link
            if anchor:
                titles = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, link
