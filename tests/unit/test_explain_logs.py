"""``detector explain`` for events of log lines: in words, and derived again or the reason why not."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from detector.cli import app
from detector.commands.explain_logs_event import log_told
from detector.commands.explain_logs_gates import log_gates_of
from detector.io.embedded import EmbeddedBroker
from detector.ports import TopicPartition
from detector.settings import LogPolicySettings, load_settings
from detector.wiring_logs import LogPipelineFactory
from tests.streams import batch_of

EXAMPLES = Path(__file__).parent.parent.parent / "schemas" / "examples"
BEGIN_S = 1_700_000_040
"""A full minute."""
MINUTES = 70
FAULT = range(50, 56)
LOGS = "logs: {topics: [app-logs]}\n"


def lines_of(minutes: int = MINUTES, *, service: str = "shop") -> list[str]:
    """A service that says three things a minute many times, and for six minutes nothing but an error that is new."""
    noise = random.Random(5)
    lines = []
    for minute in range(minutes):
        texts = [f"order {noise.randrange(9_000)} placed in {noise.randrange(90)} ms"] * noise.randrange(18, 23)
        texts += [f"user u{noise.randrange(99)} came from 10.0.0.{noise.randrange(250)}"] * noise.randrange(8, 12)
        texts += [f"cache swept: {noise.randrange(50)} entries"] * noise.randrange(4, 7)
        if minute in FAULT:
            texts = ["connection pool exhausted after 5003 ms, token=abcdef0123456789abcdef"] * noise.randrange(60, 80)
        for place, text in enumerate(texts):
            time_s = BEGIN_S + 60 * minute + place * 60 / len(texts)
            level = "error" if minute in FAULT else "info"
            lines.append(json.dumps({"time": time_s, "level": level, "service": service, "message": text}))
    return lines


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return lines_of()


@pytest.fixture
def folder(tmp_path: Path, lines: list[str]) -> Path:
    (tmp_path / "c.yaml").write_text(LOGS, encoding="utf-8")
    write(tmp_path / "x.jsonl", lines)
    return tmp_path


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(*arguments: object, **options: Any) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False, **options)


def events_of(folder: Path, *sources: str) -> list[dict[str, Any]]:
    out = folder / "events"
    paths = [folder / source for source in sources or ("x.jsonl",)]
    assert run("replay", "--logs", *paths, "--events", out, "-c", folder / "c.yaml").exit_code == 0
    return [json.loads(line) for line in out.read_bytes().splitlines()]


def saved(folder: Path, event: dict[str, Any]) -> Path:
    return write(folder / "event.json", [json.dumps(event)])


def explain(folder: Path, event: dict[str, Any], *arguments: object) -> Any:
    return run("explain", saved(folder, event), "-c", folder / "c.yaml", *arguments)


def words(result: Any) -> str:
    """What is on the screen as running text."""
    return " ".join(result.stdout.replace("│", " ").split())


def example(state: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EXAMPLES / f"log_anomaly.{state}.json").read_bytes())
    return event


class TestDerivedAgain:
    def test_every_state_of_an_episode_comes_out_again_to_the_last_bit(self, folder: Path) -> None:
        events = events_of(folder)
        assert {event["data"]["state"] for event in events} >= {"opened", "closed"}
        for event in events:
            result = explain(folder, event, "--input", folder / "x.jsonl", "--json")
            assert result.exit_code == 0, result.output
            answer = json.loads(result.stdout)
            derived = answer["derivation"]
            assert derived["status"] == "reproduced"
            assert derived["reason"].endswith("the same event, to the last bit")
            assert derived["records"] == event["data"]["provenance"]["offset"] + 1
            assert answer["event"] == {"id": event["id"], "data": event["data"]}
            compared = {each["name"]: each["derived"] for each in derived["compared"]}
            assert compared["contributions.mix"] == event["data"]["contributions"]["mix"]
            assert compared["peak.neg_log10_p"] == event["data"]["peak"]["neg_log10_p"]

    def test_only_the_file_that_an_event_of_text_names_is_run(self, folder: Path, lines: list[str]) -> None:
        for name in ("a.log", "b.log"):
            records = map(json.loads, lines)
            stamped = [
                f"{1000 * record['time']:.0f} {record['level'].upper()} {record['message']}" for record in records
            ]
            write(folder / name, stamped if name == "a.log" else stamped[: len(stamped) // 2])
        event = events_of(folder, "a.log")[0]
        assert event["data"]["series"]["labels"] == {"service.name": "a"}
        (folder / "x.jsonl").unlink()
        result = explain(folder, event, "--input", folder)
        assert result.exit_code == 0, result.output

    def test_records_saved_elsewhere_serve_as_well(self, folder: Path) -> None:
        event = events_of(folder)[0]
        data = event["data"]
        event["id"] = "another"
        data["provenance"] = {"input_topic": "app-logs", "partition": 3, "offset": 77_000}
        data |= {"episode_id": "another", "dedupe_key": "another"}
        data["quality"]["late"] = True
        for sample in data["samples"]:
            sample["offset"] += 70_000
        result = explain(folder, event, "--input", folder / "x.jsonl")
        assert result.exit_code == 0, result.output
        assert "the same but for where its records lie, to the last bit" in words(result)

    def test_batches_do_not_show(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        event = events_of(folder)[0]
        screens = []
        for size in (10_000, 97):
            monkeypatch.setenv("DETECTOR_WORKER__BATCH_RECORDS_MAX", str(size))
            screens.append(explain(folder, event, "--input", folder / "x.jsonl").stdout)
        assert screens[0] == screens[1]

    @pytest.mark.parametrize(("factor", "code"), [(1 + 1e-12, 0), (1 + 1e-7, 3)])
    def test_numbers_agree_to_nine_digits_or_not_at_all(self, folder: Path, factor: float, code: int) -> None:
        event = events_of(folder)[0]
        event["data"]["peak"]["expected"] *= factor
        result = explain(folder, event, "--input", folder / "x.jsonl")
        assert result.exit_code == code, result.output
        assert ("the same to 1e-09" in words(result)) == (code == 0)

    def test_a_topic_and_a_file_of_it_have_one_configuration(self, folder: Path, lines: list[str]) -> None:
        pipeline = LogPipelineFactory(load_settings([folder / "c.yaml"]))(TopicPartition("app-logs", 0))
        output = pipeline.process(batch_of([line.encode() for line in lines], topic="app-logs"))
        event = json.loads(output.events[0].value)
        assert event["data"]["model"]["config_hash"] == events_of(folder)[0]["data"]["model"]["config_hash"]
        assert explain(folder, event, "--input", folder / "x.jsonl").exit_code == 0


class TestNotDerivedAgain:
    def refused(self, result: Any) -> str:
        assert result.exit_code == 3, result.output
        assert len(result.stderr.splitlines()) == 1
        return str(result.stderr)

    def test_the_settings_are_others(self, folder: Path) -> None:
        event = events_of(folder)[0]
        (folder / "c.yaml").write_text("logs: {topics: [app-logs], window_s: 30}", encoding="utf-8")
        result = explain(folder, event, "--input", folder / "x.jsonl")
        assert f"made with the configuration {event['data']['model']['config_hash']}" in self.refused(result)
        assert "these settings are not those of the event" in words(result)

    def test_other_topics_are_no_other_settings(self, folder: Path) -> None:
        event = events_of(folder)[0]
        (folder / "c.yaml").write_text("logs: {topics: [others]}", encoding="utf-8")
        assert explain(folder, event, "--input", folder / "x.jsonl").exit_code == 0

    def test_the_first_records_are_missing(self, folder: Path, lines: list[str]) -> None:
        event = events_of(folder)[0]
        write(folder / "x.jsonl", lines[100:])
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        seen = event["data"]["evidence"]["windows_seen"]
        rests = re.search(r"the event rests on (\d+) windows", told)
        here = re.search(r"(?:which rests on|here) (\d+) windows", told)
        assert rests is not None
        assert here is not None
        assert int(here[1]) < int(rests[1]) == seen

    def test_the_records_end_before_the_event(self, folder: Path, lines: list[str]) -> None:
        event = events_of(folder)[0]
        write(folder / "x.jsonl", lines[:1_000])
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        assert f"nothing opened at {event['data']['window']['end']}" in told

    def test_the_service_is_not_there(self, folder: Path) -> None:
        event = events_of(folder)[0]
        write(folder / "x.jsonl", lines_of(service="another"))
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        assert "hold no window with lines of this service" in told

    def test_lines_were_changed(self, folder: Path, lines: list[str]) -> None:
        event = events_of(folder)[0]
        changed = [line.replace("cache swept", "cash swept") if place % 3 else line for place, line in enumerate(lines)]
        write(folder / "x.jsonl", changed)
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        assert "these are not the records of the event: " in told
        assert " became " in told

    def test_another_version_of_the_model(self, folder: Path) -> None:
        event = events_of(folder)[0]
        event["data"]["model"]["version"] = 77
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        assert "version 77, this detector has" in told

    def test_a_word_was_changed(self, folder: Path) -> None:
        event = events_of(folder)[0]
        event["data"]["templates"][0]["text"] = "pool empty"
        told = self.refused(explain(folder, event, "--input", folder / "x.jsonl"))
        assert "templates[].text pool empty became " in told


class TestFromTheEventAlone:
    def test_everything_that_decides_is_on_the_screen(self, folder: Path) -> None:
        event = events_of(folder)[0]
        data = event["data"]
        result = explain(folder, event)
        assert result.exit_code == 0
        shown = words(result)
        assert "nothing was derived again" in shown
        for reason in data["reasons"]:
            assert f"{100 * reason['weight']:.0f} % {reason['code']}" in shown
        for template in data["templates"][:2]:
            assert template["text"] in shown
        assert "connection pool exhausted after <*> ms" in shown
        for sample in data["samples"]:
            assert f"{sample['offset']:,} {sample['time'][11:19]} {sample['severity']}" in shown
        assert f"30 windows of 60 s up to {data['histogram']['end'][11:19]}Z" in shown
        assert re.search(r"lines of the service [▁-█]{30} ", shown)
        for fact in (event["id"], data["series"]["identity"], data["model"]["config_hash"]):
            assert fact in shown
        assert "abcdef0123456789abcdef" not in shown

    def test_the_golden_events_can_be_told(self, folder: Path) -> None:
        for path in sorted(EXAMPLES.glob("log_anomaly.*.json")):
            result = run("explain", path, "-c", folder / "c.yaml")
            assert result.exit_code == 0, path.name
            assert json.loads(path.read_bytes())["data"]["kind"] in result.stdout

    def test_bars_grow_with_the_evidence(self, folder: Path) -> None:
        event = example("opened")
        event["data"]["contributions"] = {"new": 24.0, "mix": 6.0, "rare": 0.0, "combined": 25.0}
        event["data"]["reasons"] = [{"code": "new", "weight": 1.0, "text": "1 new template"}]
        screen = explain(folder, event).stdout
        new = next(line for line in screen.splitlines() if "1 new template" in line)
        mix = next(line for line in screen.splitlines() if " mix " in line)
        assert new.count("█") == 8
        assert mix.count("█") == 5
        assert "p = 10^-6" in mix
        assert not any(" rare " in line for line in screen.splitlines())

    def test_a_kind_from_a_later_version_is_told_as_far_as_it_goes(self, folder: Path) -> None:
        event = example("opened")
        for name in ("templates", "samples", "severities", "evidence", "quality", "template"):
            del event["data"][name]
        event["data"] |= {"kind": "log.unheard_of", "new": 1}
        result = explain(folder, event)
        assert result.exit_code == 0
        assert "log.unheard_of opened" in result.stdout

    def test_a_line_cannot_steer_the_terminal(self, folder: Path) -> None:
        event = example("opened")
        event["data"]["templates"][0]["text"] = event["data"]["samples"][0]["line"] = "\x1b[2J[red]\u202e"
        result = explain(folder, event)
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout
        assert words(result).count("\\x1b[2J[red]\\u202e") == 2

    def test_standard_input_and_ids_serve(self, folder: Path) -> None:
        events = events_of(folder)
        result = run("explain", "-", "-c", folder / "c.yaml", input=json.dumps(events[0]))
        assert events[0]["id"] in result.stdout
        result = run("explain", events[1]["id"], "--events", folder / "events", "-c", folder / "c.yaml", "--json")
        assert json.loads(result.stdout)["event"]["id"] == events[1]["id"]

    def test_faults_of_usage_are_one_line(self, folder: Path) -> None:
        broken, moment = example("opened"), example("opened")
        broken["data"]["peak"] = "high"
        moment["data"]["peak"]["at"] = "yesterday"
        write(folder / "broken.json", [json.dumps(broken)])
        write(folder / "moment.json", [json.dumps(moment)])
        path = saved(folder, example("opened"))
        for arguments, why in (
            ((folder / "broken.json",), "not an event of this detector"),
            ((folder / "moment.json",), "yesterday"),
            ((path, "--input", folder / "none"), "no such file or folder"),
            ((path, "--kafka"), "kafka.bootstrap_servers is needed"),
        ):
            result = run("explain", *arguments, "-c", folder / "c.yaml")
            assert result.exit_code == 2, result.output
            assert len(result.stderr.splitlines()) == 1, result.stderr
            assert why in result.stderr


class TestGates:
    def gates(
        self, event: dict[str, Any], policy: LogPolicySettings | None = None
    ) -> dict[str, tuple[str, bool | None]]:
        told = log_told(json.dumps(event).encode(), "here").data
        found = log_gates_of(told, policy or LogPolicySettings(name="default"))
        return {gate.name: (gate.found, gate.holds) for gate in found}

    def test_the_policy_is_that_of_the_settings(self, folder: Path) -> None:
        text = LOGS.replace("}", ", policies: [{name: mine, single_min: 7, lines_min: 5}]}")
        (folder / "c.yaml").write_text(text, encoding="utf-8")
        event = events_of(folder)[0]
        assert event["data"]["policy"] == "mine"
        answer = json.loads(explain(folder, event, "--json").stdout)
        assert answer["gates_note"] == "policy mine"
        rules = {gate["name"]: gate["rule"] for gate in answer["gates"]}
        assert rules["single"] == "p = 10^-7 of one signal"
        assert rules["volume"] == "at least 5 lines observed or expected"

    def test_one_rule_is_enough_and_the_others_need_not_hold(self) -> None:
        event = example("opened")
        event["data"]["contributions"] = {"new": 7.0, "combined": 6.5}
        gates = self.gates(event)
        assert gates["together"] == ("p = 10^-6.5", True)
        assert gates["single"] == ("new p = 10^-7", None)
        event["data"]["contributions"] = {"new": 3.0, "combined": 2.5}
        gates = self.gates(event)
        assert (gates["together"][1], gates["single"][1], gates["sustained"][1]) == (False, False, False)

    def test_two_windows_running_are_a_rule(self) -> None:
        event = example("opened")
        event["data"]["contributions"] = {"mix": 4.5, "combined": 4.25}
        event["data"]["window"] |= {"windows": 2, "anomalous_windows": 2}
        assert self.gates(event)["sustained"] == ("p = 10^-4.5 at most, 2 of 2 windows anomalous", True)
        event["data"]["window"]["anomalous_windows"] = 1
        assert self.gates(event)["sustained"][1] is False

    def test_volume_kind_and_warm_up(self) -> None:
        event = example("opened")
        assert self.gates(event, LogPolicySettings(name="p", lines_min=1_000))["volume"] == ("247 lines", False)
        assert self.gates(event, LogPolicySettings(name="p", kinds=("log.surge",)))["kind"][1] is False
        assert self.gates(event)["learnt"][1] is True
        event["data"]["quality"]["warm_up"] = True
        assert self.gates(event)["learnt"][1] is False

    def test_a_close_says_why(self) -> None:
        event = example("closed")
        assert self.gates(event)["close"] == (event["data"]["end_reason"], True)
        event["data"]["end_reason"] = "evicted"
        assert self.gates(event)["close"] == ("evicted", None)


class TestKafka:
    def test_the_partition_is_read_from_its_beginning_up_to_the_event(self, folder: Path, lines: list[str]) -> None:
        place = TopicPartition("app-logs", 1)
        records = [line.encode() for line in lines]
        pipeline = LogPipelineFactory(load_settings([folder / "c.yaml"]))(place)
        output = pipeline.process(batch_of(records, topic=place.topic, partition=place.partition))
        event = json.loads(output.events[0].value)
        with EmbeddedBroker() as broker:
            producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
            for record in records:
                producer.produce(place.topic, record, partition=place.partition)
            assert producer.flush(10) == 0
            kafka = f"kafka: {{bootstrap_servers: '{broker.bootstrap_servers}'}}\n"
            (folder / "c.yaml").write_text(LOGS + kafka, encoding="utf-8")
            event["data"]["quality"]["late"] = True  # the broker has got these old records only now
            result = explain(folder, event, "--kafka", "--json")
            assert result.exit_code == 0, result.output
            derived = json.loads(result.stdout)["derivation"]
            assert derived["reason"].endswith("to the last bit")
            assert derived["records"] == event["data"]["provenance"]["offset"] + 1
            event["data"]["provenance"]["offset"] = 50_000
            result = explain(folder, event, "--kafka")
            assert result.exit_code == 3
            assert f"holds the offsets 0 to {len(records) - 1:,}, not the event's 50,000" in result.stderr
