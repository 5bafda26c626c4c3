"""The published schemas: up to date, valid, and true of what is sent and read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from detector.batches import REJECT_REASONS, RecordBatch, Reject
from detector.decoders import DecoderLimits, JsonMetricsDecoder, JsonPaths, LabelFault
from detector.encoders import CloudEventsEncoder, Provenance, schema_documents
from detector.encoders.examples import IDENTITY, MODEL
from detector.episodes import NoData, Policy
from detector.worker.dead_letters import dead_letter
from tests.unit.episodes_feed import LIVELY, Row, feed, new_judge, random_rows

FOLDER = Path(__file__).parents[2] / "schemas"
DOCUMENTS = schema_documents()


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(DOCUMENTS[name]), format_checker=Draft202012Validator.FORMAT_CHECKER)


def example(name: str) -> Any:
    return json.loads((FOLDER / "examples" / name).read_text(encoding="utf-8"))


class TestFiles:
    @pytest.mark.parametrize("name", sorted(DOCUMENTS))
    def test_the_file_is_what_the_code_says(self, name: str) -> None:
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert text == DOCUMENTS[name], "run: python schemas/generate.py"

    def test_no_other_file_lies_there(self) -> None:
        files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.suffix in {".json", ".yaml"}}
        assert files == {*DOCUMENTS, "settings.v1.json"}  # the latter has its own tests, beside the settings

    @pytest.mark.parametrize("name", sorted(name for name in DOCUMENTS if name.endswith(".v1.json")))
    def test_a_schema_is_a_valid_schema(self, name: str) -> None:
        Draft202012Validator.check_schema(json.loads(DOCUMENTS[name]))

    @pytest.mark.parametrize("name", sorted(path.name for path in (FOLDER / "examples").glob("*.json")))
    def test_a_golden_example_validates(self, name: str) -> None:
        validator(f"{name.split('.', maxsplit=1)[0]}.v1.json").validate(example(name))


class TestAnomaly:
    def test_events_of_many_episodes_validate(self) -> None:
        encoder = CloudEventsEncoder("/detector/test")
        schema = validator("anomaly.v1.json")
        judge = new_judge(LIVELY, slots=3)
        transitions = feed(judge, random_rows(3, 1_000, slots=3))
        transitions += judge.evict(np.arange(3), row=0, time_ms=0)
        watched = new_judge(Policy("watched", open_points=1, open_window=1, no_data=NoData(intervals=1.0)), slots=3)
        transitions += feed(watched, random_rows(3, 1_000, slots=3))
        transitions += feed(watched, [Row(2_000_000_000_000 + 60_000 * turn, 0.0, 0.0) for turn in range(300)])
        transitions += watched.evict(np.arange(1, 3), row=0, time_ms=2_100_000_000_000, reason="expired")
        reasons = {None, "recovered", "evicted", "silent", "resumed", "expired"}
        assert {transition.end_reason for transition in transitions} == reasons
        for transition in transitions:
            provenance = Provenance("metrics", 0, transition.row, -1)
            schema.validate(json.loads(encoder.encode(transition, IDENTITY, "lively", MODEL, provenance).value))

    @pytest.mark.parametrize(
        "path", ["data", "id", "data.summary", "data.series.labels", "data.window.start", "data.silence"]
    )
    def test_a_missing_field_is_refused(self, path: str) -> None:
        event = example("anomaly.opened.json")
        *parents, last = path.split(".")
        holder = event
        for parent in parents:
            holder = holder[parent]
        del holder[last]
        with pytest.raises(ValidationError, match=f"'{last}' is a required property"):
            validator("anomaly.v1.json").validate(event)

    @pytest.mark.parametrize(("part", "name"), [("peak", "at"), ("silence", "since")])
    def test_a_part_that_may_be_null_is_whole_if_it_is_there(self, part: str, name: str) -> None:
        event = example("anomaly.opened.json" if part == "peak" else "anomaly.no_data.json")
        del event["data"][part][name]
        assert not validator("anomaly.v1.json").is_valid(event)
        event["data"][part] = None
        assert validator("anomaly.v1.json").is_valid(event)

    @pytest.mark.parametrize(
        ("name", "value"), [("state", "open"), ("kind", "metric.odd"), ("severity", "ERROR"), ("started_at", "today")]
    )
    def test_a_value_outside_its_list_or_format_is_refused(self, name: str, value: str) -> None:
        event = example("anomaly.opened.json")
        event["data"][name] = value
        with pytest.raises(ValidationError):
            validator("anomaly.v1.json").validate(event)

    def test_additions_are_tolerated(self) -> None:
        event = example("anomaly.opened.json")
        event["traceparent"] = event["data"]["later"] = "x"
        validator("anomaly.v1.json").validate(event)

    def test_every_field_is_described(self) -> None:
        definitions = json.loads(DOCUMENTS["anomaly.v1.json"])["$defs"]
        for definition in definitions.values():
            for name, field in definition["properties"].items():
                assert "description" in field, name


class TestMetric:
    @pytest.mark.parametrize(
        "record",
        [
            {"name": "x", "time": 1, "value": 2},
            {"name": "x", "labels": {"a": 1, "b": None, "c": True}, "time": "1700000000", "value": "2.5"},
            [{"name": "x", "time": 1, "value": 2}, {"name": "x", "time": [1], "value": [2]}],
        ],
    )
    def test_what_the_schema_allows_the_decoder_reads(self, record: Any) -> None:
        assert validator("metric.v1.json").is_valid(record)
        assert rejects_of(record) == []

    @pytest.mark.parametrize(
        "record",
        [
            {"name": "x", "value": 2},
            {"name": "x", "time": 1},
            {"name": "x", "time": 1, "value": None},
            {"name": "x", "time": [], "value": []},
            {"name": "x", "time": -5, "value": 2},
            {"name": 3, "time": 1, "value": 2},
            {"name": "x", "labels": [], "time": 1, "value": 2},
            "x",
            [],
        ],
    )
    def test_what_the_schema_refuses_the_decoder_rejects(self, record: Any) -> None:
        assert not validator("metric.v1.json").is_valid(record)
        assert rejects_of(record) != []

    @pytest.mark.parametrize("layout", ["single", "array", "columnar"])
    def test_examples_are_read(self, layout: str) -> None:
        assert rejects_of(example(f"metric.{layout}.json")) == []


def rejects_of(record: Any) -> list[str]:
    """Reasons for which the decoder refuses a record, in its samples or in the labels of their series."""
    decoder = JsonMetricsDecoder(JsonPaths(), DecoderLimits())
    values = [json.dumps(record).encode()]
    batch = decoder.decode(RecordBatch("metrics", 0, np.array([0]), np.array([-1]), values))
    named = (decoder.labels(key) for key in batch.keys)
    faults = [answer.reason for answer in named if isinstance(answer, LabelFault)]
    return [*(reject.reason for reject in batch.rejects), *faults]


class TestDeadLetter:
    def test_reasons_are_those_of_the_code(self) -> None:
        schema = json.loads(DOCUMENTS["dead_letter.v1.json"])
        assert schema["properties"]["detector-reason"]["enum"] == list(REJECT_REASONS)

    def test_what_the_worker_sends_validates(self) -> None:
        batch = RecordBatch("metrics", 3, np.array([17]), np.array([-1]), [b"x" * 5_000])
        for bytes_max in (1_000_000, 1_000):
            letter = dead_letter("detector.dlq", batch, Reject(0, 17, "invalid_json", "not JSON"), bytes_max=bytes_max)
            headers = {name: (value or b"").decode() for name, value in letter.headers}
            validator("dead_letter.v1.json").validate(headers)
            assert set(headers) <= set(json.loads(DOCUMENTS["dead_letter.v1.json"])["properties"])
            assert ("detector-value-bytes" in headers) == (bytes_max == 1_000)

    def test_an_unknown_reason_is_refused(self) -> None:
        headers = {**example("dead_letter.json"), "detector-reason": "mood"}
        assert not validator("dead_letter.v1.json").is_valid(headers)


class TestAsyncApi:
    def test_every_reference_leads_somewhere(self) -> None:
        document = yaml.safe_load(DOCUMENTS["asyncapi.yaml"])
        references = list(references_in(document))
        assert len(references) >= 9
        for reference in references:
            if reference.startswith("./"):
                assert reference.removeprefix("./") in DOCUMENTS
            else:
                target = document
                for part in reference.removeprefix("#/").split("/"):
                    target = target[part]

    def test_it_tells_the_three_topics_and_who_does_what(self) -> None:
        document = yaml.safe_load(DOCUMENTS["asyncapi.yaml"])
        assert document["asyncapi"] == "3.0.0"
        assert {name: channel["address"] for name, channel in document["channels"].items()} == {
            "metrics": "{topic}",
            "events": "{prefix}.events",
            "dead_letters": "{prefix}.dlq",
        }
        assert [operation["action"] for operation in document["operations"].values()] == ["receive", "send", "send"]

    def test_its_examples_validate(self) -> None:
        for name, message in yaml.safe_load(DOCUMENTS["asyncapi.yaml"])["components"]["messages"].items():
            part = "headers" if name == "dead_letter" else "payload"
            for item in message["examples"]:
                validator(message[part]["$ref"].removeprefix("./")).validate(item[part])


def references_in(node: Any) -> Iterator[str]:
    """Every ``$ref`` of a document, outside its examples."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            elif key != "examples":
                yield from references_in(value)
    elif isinstance(node, list):
        for item in node:
            yield from references_in(item)
