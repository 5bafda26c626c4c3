"""``detector replay`` of log lines: text files, records, folders with both; what is refused, in one line."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

from detector.cli import app
from tests.log_records import BEGIN_S, json_line, plain_line
from tests.log_stories import Line, Message, messages, minute_of, records_of, service_of


def lines_of_an_incident() -> list[Line]:
    """Fifty minutes of a shop; in the last eight of them payments are refused."""
    source = np.random.default_rng(1)
    said = messages(20, 1, rate=100.0)
    refused = Message("payment of order {} refused by issuer", 80.0, "error")
    found: list[Line] = []
    for minute in range(50):
        found += minute_of(source, minute, "shop", [*said, refused] if minute >= 42 else said)
    return sorted(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same incident as text, and as records of a service of that name."""
    path = tmp_path_factory.mktemp("logs")
    lines = lines_of_an_incident()
    text = b"\n".join(plain_line(BEGIN_S + line.time_s, line.level, line.text) for line in lines)
    (path / "app.log").write_bytes(text + b"\n")
    (path / "records.jsonl").write_bytes(b"\n".join(records_of(lines)) + b"\n")
    return path


class Ended(NamedTuple):
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


def run(*arguments: object) -> Ended:
    result = CliRunner().invoke(app, ["replay", *map(str, arguments)], catch_exceptions=False)
    return Ended(result.exit_code, result.stdout, result.stderr)


def replay(*arguments: object) -> dict[str, str]:
    """What the summary says."""
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    rows = [" ".join(line.replace("│", " ").split()).rpartition(" ") for line in result.stdout.splitlines()]
    return {name: count for name, _, count in rows}


def events_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


class TestFiles:
    def test_a_text_file_is_a_service_of_its_name(self, folder: Path, tmp_path: Path) -> None:
        summary = replay(folder / "app.log", "--events", tmp_path / "e.jsonl")
        assert summary["records"] == f"{len(lines_of_an_incident()):,}"
        assert summary["log records: plain"] == summary["records"]
        assert summary["series"] == summary["episodes opened"] == "1"
        assert summary["templates"] == "21"
        opened = events_of(tmp_path / "e.jsonl")[0]
        assert opened["type"] == "detector.log_anomaly.opened.v1"
        assert opened["data"]["kind"] == "log.severity_surge"
        assert service_of(opened["data"]) == "app"
        assert "refused by issuer" in opened["data"]["template"]["text"]
        source = (folder / "app.log").read_text(encoding="utf-8").splitlines()
        for sample in opened["data"]["samples"]:
            assert sample["line"] in source[sample["offset"]]

    def test_records_tell_their_service(self, folder: Path, tmp_path: Path) -> None:
        summary = replay("--logs", folder / "records.jsonl", "--events", tmp_path / "e.jsonl")
        assert summary["log records: json"] == summary["records"]
        (opened,) = [event for event in events_of(tmp_path / "e.jsonl") if event["data"]["state"] == "opened"]
        assert service_of(opened["data"]) == "shop"
        assert opened["data"]["kind"] == "log.severity_surge"

    def test_a_folder_with_both_has_the_events_of_each(self, folder: Path, tmp_path: Path) -> None:
        both, apart = tmp_path / "both.jsonl", []
        summary = replay("--logs", folder, "--events", both)
        for place in (folder / "app.log", folder / "records.jsonl"):
            replay("--logs", place, "--events", tmp_path / "one.jsonl")
            apart += events_of(tmp_path / "one.jsonl")
        assert events_of(both) == apart
        assert {service_of(event["data"]) for event in apart} == {"app", "shop"}
        assert summary["episodes opened"] == summary["series"] == "2"

    def test_events_are_the_same_bytes_wherever_batches_are_cut(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = []
        for size in (10_000, 173):
            monkeypatch.setenv("DETECTOR_WORKER__BATCH_RECORDS_MAX", str(size))
            replay(folder / "app.log", "--events", tmp_path / "e.jsonl")
            found.append((tmp_path / "e.jsonl").read_bytes())
        assert found[0] == found[1] != b""

    def test_lines_of_a_file_without_a_time_belong_to_the_line_before(self, folder: Path, tmp_path: Path) -> None:
        trace = (b"java.lang.IllegalStateException: refused", b"\tat com.acme.Shop.pay(Shop.java:9)", b"see the manual")
        lines = (folder / "app.log").read_bytes().splitlines()
        traced = [each for line in lines for each in ((line, *trace) if b"refused by issuer" in line else (line,))]
        (tmp_path / "app.log").write_bytes(b"\n".join([b"a banner", *traced]) + b"\n")
        path = tmp_path / "app.log"
        summary = replay(path, "--events", tmp_path / "e.jsonl", "--rejects", tmp_path / "r.jsonl")
        assert [reject["offset"] for reject in events_of(tmp_path / "r.jsonl")] == [0]
        assert summary["templates"] == "21"
        opened = events_of(tmp_path / "e.jsonl")[0]
        text = opened["data"]["template"]["text"]
        assert text.endswith("refused by issuer java.lang.IllegalStateException com.acme.Shop.pay")
        shown = [sample for sample in opened["data"]["samples"] if "refused" in sample["line"]]
        assert all(sample["line"].splitlines()[1:] == [line.decode() for line in trace] for sample in shown)
        assert shown

    def test_what_cannot_be_read_is_shown_with_its_reason(self, tmp_path: Path) -> None:
        good = json_line(BEGIN_S, "shop", "info", "hello")
        (tmp_path / "x.jsonl").write_bytes(b"\n".join([good, b'{"message": ', b"\x00\xff", good]))
        replay("--logs", tmp_path / "x.jsonl", "--rejects", tmp_path / "r.jsonl")
        rejects = events_of(tmp_path / "r.jsonl")
        assert [reject["offset"] for reject in rejects] == [1, 2]
        assert all(reject["reason"] and reject["detail"] for reject in rejects)


class TestRefusals:
    @pytest.mark.parametrize("option", ["--scores", "--report"])
    def test_lines_have_no_scores(self, folder: Path, tmp_path: Path, option: str) -> None:
        result = run(folder / "app.log", option, tmp_path / "s.csv")
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert "--scores and --report" in result.stderr
        assert not (tmp_path / "s.csv").exists()

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("logs: {format: jsn}", "logs.format"),
            ("logs: {topics: [a], format: plain}\nkafka: {topics: [a, b]}", "a"),
            ("logs: {lateness_s: 50, window_s: 20}", "lateness_s: 50 should not be longer than window_s: 20"),
            ("logs: {redaction: {patterns: {badge: '(unclosed'}}}", "badge"),
            ("logs: {policies: [{name: a, match: '{service.name=~'}]}", "logs.policies[0]"),
            ("logs: {policies: [{name: a, kinds: [log.surprise]}]}", "logs.policies[0].kinds"),
            ("logs: {utc_offset: two}", "logs.utc_offset"),
            ("logs: {lateness: 5}", "logs.lateness is not a setting"),
        ],
    )
    def test_a_bad_setting_is_one_readable_line(self, folder: Path, tmp_path: Path, text: str, said: str) -> None:
        config = tmp_path / "c.yaml"
        config.write_text(text, encoding="utf-8")
        result = run(folder / "app.log", "--config", config)
        assert result.exit_code == 2
        line, *drawing = result.stderr.splitlines()
        assert said in line
        assert drawing == ([] if "match:" not in text else ["  {service.name=~", " " * 17 + "^"])
