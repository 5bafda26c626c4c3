"""``detector explain``: the event in words, and its numbers derived again or the reason why not."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from detector.cli import app
from detector.commands.explain_chart import ROWS, chart
from detector.commands.explain_run import Point
from detector.io.embedded import EmbeddedBroker
from detector.ports import TopicPartition
from detector.settings import load_settings
from detector.wiring import PipelineFactory
from tests.streams import TOPIC, batch_of

POLICY = """
models: {fixed: {residual: {}}}
policies: [{name: all, model: fixed, abs_min: 0.5, direction: up, open: 3 of 4, no_data: {}}]
"""


def lines_of(rows: int = 500, *, host: str = "a") -> list[str]:
    """Minutes of two noisy levels: one is far off for ten minutes, and silent for two hours later on."""
    noise = random.Random(3)
    return [
        json.dumps({"name": name, "labels": {"host": host}, "time": 1_700_000_000 + 60 * row, "value": value})
        for row in range(rows)
        for name in ("level", "other")
        for value in [50 + noise.gauss(0, 1) + (400 if name == "level" and 300 <= row < 310 else 0)]
        if not (name == "level" and 350 <= row < 470)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(POLICY, encoding="utf-8")
    write(tmp_path / "x.jsonl", lines_of())
    return tmp_path


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(*arguments: object, **options: Any) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False, **options)


def events_of(folder: Path, source: str = "x.jsonl") -> list[dict[str, Any]]:
    out = folder / "events"
    assert run("replay", folder / source, "--events", out, "-c", folder / "c.yaml").exit_code == 0
    return [json.loads(line) for line in out.read_bytes().splitlines()]


def saved(folder: Path, event: dict[str, Any]) -> Path:
    return write(folder / "event.json", [json.dumps(event)])


def explain(folder: Path, event: dict[str, Any], *arguments: object) -> Any:
    return run("explain", saved(folder, event), "-c", folder / "c.yaml", *arguments)


def words(result: Any) -> str:
    """What is on the screen as running text."""
    return " ".join(result.stdout.replace("│", " ").split())


class TestDerivedAgain:
    def test_every_kind_and_state_of_event_comes_out_again_to_the_last_bit(self, folder: Path) -> None:
        events = events_of(folder)
        seen = {(event["data"]["kind"], event["data"]["state"]) for event in events}
        assert seen >= {
            ("metric.spike", "opened"),
            ("metric.spike", "updated"),
            ("metric.spike", "closed"),
            ("metric.no_data", "opened"),
            ("metric.no_data", "closed"),
        }
        for event in events:
            result = explain(folder, event, "--input", folder / "x.jsonl", "--json")
            assert result.exit_code == 0, result.output
            answer = json.loads(result.stdout)
            derived = answer["derivation"]
            assert derived["status"] == "reproduced"
            assert derived["reason"].endswith("the same to the last bit")
            assert derived["records"] == event["data"]["provenance"]["offset"] + 1
            for each in derived["compared"]:
                assert each["derived"] == each["event"] == event["data"][each["name"]]
            assert [each["name"] for each in derived["compared"]][:2] == ["score", "deviation"]

    def test_only_the_file_that_an_event_of_csv_names_is_run(self, folder: Path) -> None:
        for name, off in (("a.csv", 400), ("b.csv", 300)):
            noise = random.Random(1)
            rows = [f"{60 * row},up,{50 + noise.gauss(0, 1) + off * (300 <= row < 310)}" for row in range(320)]
            write(folder / name, ["time,series,value", *rows])
        for source in ("a.csv", "b.csv"):
            event = events_of(folder, source)[0]
            result = explain(folder, event, "--input", folder)
            assert result.exit_code == 0, result.output

    def test_records_saved_elsewhere_serve_as_well(self, folder: Path) -> None:
        event = events_of(folder)[0]
        event["data"]["provenance"] = {"input_topic": "metrics", "partition": 3, "offset": 77_000}
        result = explain(folder, event, "--input", folder / "x.jsonl")
        assert result.exit_code == 0
        assert "the same to the last bit" in words(result)

    def test_batches_do_not_show(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        event = events_of(folder)[0]
        screens = []
        for size in (10_000, 7):
            monkeypatch.setenv("DETECTOR_WORKER__BATCH_RECORDS_MAX", str(size))
            screens.append(explain(folder, event, "--input", folder / "x.jsonl").stdout)
        assert screens[0] == screens[1]

    @pytest.mark.parametrize(("factor", "code"), [(1 + 1e-11, 0), (1 + 1e-7, 3)])
    def test_numbers_agree_to_nine_digits_or_not_at_all(self, folder: Path, factor: float, code: int) -> None:
        event = events_of(folder)[0]
        event["data"]["score"] *= factor
        result = explain(folder, event, "--input", folder / "x.jsonl")
        assert result.exit_code == code
        assert ("the same to 1e-09" in words(result)) == (code == 0)


class TestCannotBeReproduced:
    def refused(self, result: Any) -> str:
        assert result.exit_code == 3
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("the event cannot be reproduced: ")
        assert "reproduced:" in words(result)
        return str(result.stderr)

    def test_other_settings(self, folder: Path) -> None:
        event = events_of(folder)[0]
        (folder / "c.yaml").write_text(POLICY.replace("0.5", "0.6"), encoding="utf-8")
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        assert event["data"]["model"]["config_hash"] in told

    @pytest.mark.parametrize(
        ("metric", "chosen"), [("errors", "low counts"), ("wait_seconds", "its name or unit"), ("level", "not like")]
    )
    def test_auto_chooses_again_what_it_chose_and_says_why(self, folder: Path, metric: str, chosen: str) -> None:
        noise = random.Random(4)
        values = [float(sum(noise.random() < 0.1 for _ in range(20))) + 0.5 * (metric == "level") for _ in range(200)]
        values[150:160] = [60.5 if metric == "level" else 60.0] * 10
        lines = [
            json.dumps({"name": metric, "time": 1_700_000_000 + 60 * row, "value": value})
            for row, value in enumerate(values)
        ]
        write(folder / "auto.jsonl", lines)
        (folder / "c.yaml").write_text("{}", encoding="utf-8")
        event = events_of(folder, "auto.jsonl")[0]
        assert event["data"]["model"]["name"] == ("counts" if metric == "errors" else "envelope")
        result = explain(folder, event, "--input", folder / "auto.jsonl")
        assert result.exit_code == 0, result.output
        assert f"chosen by auto: {chosen}" in words(result)

    def test_it_says_that_the_scores_rest_on_peers(self, folder: Path) -> None:
        event = events_of(folder)[0]
        assert event["data"]["quality"]["prior"] is None
        assert "its peers" not in words(explain(folder, event))
        event["data"]["quality"]["prior"] = "peers"
        assert "what is usual taken from its peers" in words(explain(folder, event))

    def test_an_event_of_before_does_not_say_why(self, folder: Path) -> None:
        event = events_of(folder)[0]
        assert "(named by the policy)" in words(explain(folder, event))
        del event["data"]["model"]["chosen"]
        assert f"residual version {event['data']['model']['version']}, configuration" in words(explain(folder, event))

    def test_the_first_records_are_missing(self, folder: Path) -> None:
        event = events_of(folder)[0]
        write(folder / "x.jsonl", lines_of()[100:])
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        assert "records are missing: the model of the event had seen 303 samples, here 253 samples" in told

    def test_the_records_end_before_the_event(self, folder: Path) -> None:
        event = events_of(folder)[0]
        write(folder / "x.jsonl", lines_of()[:500])
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        assert "250 samples of this series, but none at 2023-11-15T03:15:20.000Z" in told

    def test_the_series_is_not_there(self, folder: Path) -> None:
        event = events_of(folder)[0]
        write(folder / "x.jsonl", lines_of(host="b"))
        assert "hold no sample of this series" in self.refused(explain(folder, event, "--input", folder / "x.jsonl"))

    def test_the_transition_did_not_happen(self, folder: Path) -> None:
        event = events_of(folder)[0]
        event["data"]["sequence"] = 9
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        assert "but nothing opened there" in told

    def test_a_value_was_changed(self, folder: Path) -> None:
        event = events_of(folder)[0]
        lines = lines_of()
        lines[20] = lines[20].replace('"value": ', '"value": 1')
        write(folder / "x.jsonl", lines)
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        assert "these are not the records of the event: score" in told

    def test_another_version_of_the_learner(self, folder: Path) -> None:
        event = events_of(folder)[0]
        event["data"]["model"]["version"] = 77
        event["data"]["score"] += 1
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        assert "version 77, this detector has" in told

    def test_json_says_so_too(self, folder: Path) -> None:
        event = events_of(folder)[0]
        write(folder / "x.jsonl", lines_of(host="b"))
        result = explain(folder, event, "--input", folder / "x.jsonl", "--json")
        assert result.exit_code == 3
        assert json.loads(result.stdout)["derivation"]["status"] == "missing"


class TestFromTheEventAlone:
    def test_it_says_that_nothing_was_derived_again(self, folder: Path) -> None:
        event = events_of(folder)[0]
        result = explain(folder, event)
        assert result.exit_code == 0
        shown = words(result)
        assert "nothing was derived again" in shown
        assert event["data"]["summary"] in shown
        for reason in event["data"]["reasons"]:
            assert f"{100 * reason['weight']:.0f} % {reason['code']} {reason['text']}" in shown
        for fact in (event["id"], event["data"]["series"]["identity"], event["data"]["model"]["config_hash"]):
            assert fact in shown

    def test_gates_are_those_of_the_policy(self, folder: Path) -> None:
        event = events_of(folder)[0]
        gates = {gate["name"]: gate for gate in json.loads(explain(folder, event, "--json").stdout)["gates"]}
        assert gates["open"] == {
            "name": "open",
            "rule": "3 of 4 points anomalous",
            "found": "3 of 3 since the start",
            "holds": True,
        }
        assert (gates["direction"]["rule"], gates["direction"]["holds"]) == ("up", True)
        assert (gates["distance"]["rule"], gates["distance"]["holds"]) == ("at least 0.5 absolute", True)
        assert (gates["share"]["rule"], gates["share"]["holds"]) == ("off", None)
        event["data"]["direction"] = "down"
        event["data"]["peak"] |= {"observed": 50.0, "expected": 50.1}
        gates = {gate["name"]: gate for gate in json.loads(explain(folder, event, "--json").stdout)["gates"]}
        assert not gates["direction"]["holds"]
        assert not gates["distance"]["holds"]

    def test_gates_of_silence(self, folder: Path) -> None:
        event = next(each for each in events_of(folder) if each["data"]["kind"] == "metric.no_data")
        answer = json.loads(explain(folder, event, "--json").stdout)
        assert [(gate["name"], gate["rule"], gate["holds"]) for gate in answer["gates"]] == [
            ("silence", "at least 5 min", True),
            ("gaps", "at least 5 usual gaps", True),
        ]
        assert "not known: there is no sample" in words(explain(folder, event))

    def test_gates_of_other_settings_are_not_guessed(self, folder: Path) -> None:
        event = events_of(folder)[0]
        (folder / "c.yaml").write_text("", encoding="utf-8")
        result = explain(folder, event)
        assert result.exit_code == 0
        assert "these settings are not those of the event" in words(result)

    def test_a_kind_from_a_later_version_is_told_as_far_as_it_goes(self, folder: Path) -> None:
        event = events_of(folder)[0]
        event["data"] |= {"kind": "metric.unheard_of", "peak": None, "silence": None, "new": 1}
        result = explain(folder, event)
        assert result.exit_code == 0
        assert "metric.unheard_of opened" in result.stdout

    def test_a_label_cannot_steer_the_terminal(self, folder: Path) -> None:
        write(folder / "x.jsonl", lines_of(host="\x1b[2J[red]\u202e"))
        event = events_of(folder)[0]
        for result in (explain(folder, event), explain(folder, event, "--input", folder / "x.jsonl")):
            assert result.exit_code == 0
            assert "\x1b" not in result.stdout
            assert "\\x1b[2J[red]\\u202e" in words(result)


class TestWhichEvent:
    def test_standard_input(self, folder: Path) -> None:
        event = events_of(folder)[0]
        result = run("explain", "-", "-c", folder / "c.yaml", input=json.dumps(event))
        assert result.exit_code == 0
        assert event["id"] in result.stdout

    def test_an_id_among_others_and_the_first_of_an_episode(self, folder: Path) -> None:
        events = events_of(folder)
        for wanted in (events[2]["id"], events[2]["data"]["episode_id"]):
            result = run("explain", wanted, "--events", folder / "events", "-c", folder / "c.yaml", "--json")
            found = json.loads(result.stdout)["event"]
            assert wanted in {found["id"], found["data"]["episode_id"]}
        assert found["data"]["state"] == "opened"

    def test_faults_of_usage_are_one_line(self, folder: Path) -> None:
        event = events_of(folder)[0]
        path = saved(folder, event)
        (folder / "bad.json").write_text("{", encoding="utf-8")
        (folder / "other.json").write_text('{"id": "x"}', encoding="utf-8")
        event["data"]["started_at"] = "yesterday"
        write(folder / "time.json", [json.dumps(event)])
        for arguments, why in (
            ((folder / "none.json",), "cannot be read: No such file"),
            (("8493b817",), "if it is an id"),
            ((folder,), "cannot be read"),
            ((folder / "bad.json",), "not an event of this detector"),
            ((folder / "other.json",), "missing required field"),
            ((folder / "time.json",), "yesterday"),
            ((folder / "events",), "name one by its id"),
            (("no-such-id", "--events", folder / "events"), "no event and no episode has the id no-such-id"),
            ((path, "--events", folder / "none"), "cannot be read"),
            ((path, "--input", folder / "none"), "no such file or folder"),
            ((path, "--kafka"), "kafka.bootstrap_servers is needed"),
            ((path, "--kafka", "--input", folder), "not both"),
        ):
            result = run("explain", *arguments, "-c", folder / "c.yaml")
            assert result.exit_code == 2, arguments
            assert len(result.stderr.splitlines()) == 1, result.stderr
            assert why in result.stderr
            assert result.stdout == ""

    def test_what_is_too_large_is_no_event(self, folder: Path) -> None:
        with (folder / "large").open("wb") as stream:
            stream.truncate(5_000_000)
        result = run("explain", folder / "large")
        assert result.exit_code == 2
        assert "larger than an event can be" in result.stderr


class TestKafka:
    def test_the_partition_is_read_from_its_beginning_up_to_the_event(self, folder: Path) -> None:
        place = TopicPartition(TOPIC, 2)
        lines = [line.encode() for line in lines_of(400)]
        pipeline = PipelineFactory(load_settings([folder / "c.yaml"]))(place)
        output = pipeline.process(batch_of(lines, partition=place.partition))
        event = json.loads(output.events[0].value)
        with EmbeddedBroker() as broker:
            producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
            for line in lines:
                producer.produce(place.topic, line, partition=place.partition)
            assert producer.flush(10) == 0
            kafka = f"kafka: {{bootstrap_servers: '{broker.bootstrap_servers}', topics: [metrics]}}\n"
            (folder / "c.yaml").write_text(POLICY + kafka, encoding="utf-8")
            result = explain(folder, event, "--kafka", "--json")
            assert result.exit_code == 0, result.output
            derived = json.loads(result.stdout)["derivation"]
            assert derived["reason"].endswith("the same to the last bit")
            assert derived["records"] == event["data"]["provenance"]["offset"] + 1
            event["data"]["provenance"]["offset"] = 5_000
            result = explain(folder, event, "--kafka")
            assert result.exit_code == 3
            assert f"holds the offsets 0 to {len(lines) - 1}, not the event's 5,000" in result.stderr


class TestChart:
    def test_the_band_is_shaded_and_what_is_outside_is_marked(self) -> None:
        nan = float("nan")
        points = [
            *[Point(None, 5.0, 5.0, 4.0, 6.0)] * 9,
            Point(None, 12.0, 5.0, 4.0, 6.0),
            Point(None, 5, nan, nan, nan),
        ]
        lines = [line.plain for line in chart(points, 40)]
        assert len(lines) == ROWS
        assert "".join(lines).count("●") == 1
        assert "●" in lines[0]
        assert "".join(lines).count("•") == 10
        assert lines[0].startswith("      12 ┤")
        assert lines[-1].startswith("       4 ┤")
        assert lines[-1].count("░") == 2 * 10

    def test_only_the_newest_fit(self) -> None:
        lines = chart([Point(None, float(value), 0.0, 0.0, 0.0) for value in range(100)], 30)
        assert all(len(line.plain) == 30 for line in lines)
        assert lines[0].plain.startswith("      99")

    def test_a_constant_and_the_largest_floats_can_be_drawn(self) -> None:
        nan = float("nan")
        assert "".join(line.plain for line in chart([Point(None, 3.0, nan, nan, nan)], 30)).count("•") == 1
        lines = chart([Point(None, value, nan, nan, nan) for value in (-1.7e308, 1.7e308)], 30)
        assert "•" in lines[0].plain
        assert "•" in lines[-1].plain
        assert chart([], 30) == []
