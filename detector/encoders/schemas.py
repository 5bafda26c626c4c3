"""What is published about the wire formats, made from the code that speaks them.

``schemas/`` holds these texts, checked in; a test keeps the two equal.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import yaml

from detector import __version__
from detector.batches import REJECT_REASONS
from detector.encoders.cloudevents import ANOMALY_SCHEMA_URI
from detector.encoders.event import AnomalyEvent
from detector.encoders.examples import example_texts, pretty
from detector.encoders.log_cloudevents import LOG_SCHEMA_URI
from detector.encoders.log_event import LogAnomalyEvent
from detector.encoders.log_examples import LOG_EPISODES, log_example_texts

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

TIME: Final = {
    "description": "RFC 3339, or time since the epoch in s, ms, us or ns, told apart by its magnitude.",
    "type": ["string", "number"],
    "minLength": 1,
    "minimum": 0,
}
VALUE: Final = {
    "description": "A finite number, or a string that reads as one.",
    "type": ["number", "string"],
    "minLength": 1,
}
NAME: Final = {"description": "Name of the metric; may be missing where the settings name a default.", "type": "string"}
LABELS: Final = {
    "description": "Labels of the series. Numbers and booleans become text; null and empty labels are left out.",
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}


TOPIC: Final = {"topic": {"description": "Its name."}}
ANOMALIES: Final = ("opened", "updated", "closed", "no_data", "resumed", "level_shift", "stuck", "variance", "calmed")
PREFIX: Final = {"prefix": {"description": "Prefix of the topics that the detector writes.", "default": "detector"}}


def schema_documents() -> dict[str, str]:
    """File name below ``schemas/`` to text: JSON Schemas, the AsyncAPI document and the examples."""
    examples = {**example_texts(), **log_example_texts()}
    return {
        "anomaly.v1.json": _json(anomaly_schema()),
        "log_anomaly.v1.json": _json(log_anomaly_schema()),
        "metric.v1.json": _json(metric_schema()),
        "dead_letter.v1.json": _json(dead_letter_schema()),
        "asyncapi.yaml": yaml.safe_dump(asyncapi(examples), sort_keys=False, allow_unicode=True, width=100),
        **{f"examples/{name}": text for name, text in examples.items()},
    }


def anomaly_schema() -> dict[str, Any]:
    """JSON Schema of an outgoing event."""
    head = _head(ANOMALY_SCHEMA_URI, "Anomaly event", "One transition of an anomaly episode, as a CloudEvents event.")
    return {**head, **msgspec.json.schema(AnomalyEvent)}


def log_anomaly_schema() -> dict[str, Any]:
    """JSON Schema of an outgoing event of log lines."""
    title = "Log anomaly event"
    head = _head(LOG_SCHEMA_URI, title, "One transition of an episode of log lines, as a CloudEvents event.")
    return {**head, **msgspec.json.schema(LogAnomalyEvent)}


def metric_schema() -> dict[str, Any]:
    """JSON Schema of an incoming generic metric record at the default paths."""
    head = _head(
        "urn:detector:schemas:metric.v1",
        "Metric record",
        "One sample, an array of samples, or one series with equally long lists of times and values. "
        "The field names are the default paths; the settings can name others.",
    )
    return {
        **head,
        "anyOf": [
            {"$ref": "#/$defs/Sample"},
            {
                "type": "array",
                "items": {"anyOf": [{"$ref": "#/$defs/Sample"}, {"$ref": "#/$defs/Columns"}]},
                "minItems": 1,
            },
            {"$ref": "#/$defs/Columns"},
        ],
        "$defs": {
            "Sample": _point("One sample of one series.", TIME, VALUE),
            "Columns": _point(
                "Many samples of one series: the n-th time belongs to the n-th value.",
                {"type": "array", "items": TIME, "minItems": 1},
                {"type": "array", "items": VALUE, "minItems": 1},
            ),
        },
    }


def dead_letter_schema() -> dict[str, Any]:
    """JSON Schema of the headers of a dead letter, their bytes read as UTF-8."""
    head = _head(
        "urn:detector:schemas:dead_letter.v1",
        "Dead letter headers",
        "Headers of a record that could not be used. Its key, its value and its own headers follow byte for byte, "
        "unless one of the optional headers tells that they did not fit.",
    )
    whole = {"type": "string", "pattern": r"^\d+$"}
    properties: dict[str, Any] = {
        "detector-reason": {"description": "The first fault found.", "enum": list(REJECT_REASONS)},
        "detector-detail": {"description": "The fault in words, with the value at fault.", "type": "string"},
        "detector-topic": {"description": "Topic that the record came from.", "type": "string", "minLength": 1},
        "detector-partition": {"description": "Its partition.", **whole},
        "detector-offset": {"description": "Its offset.", **whole},
        "detector-timestamp-ms": {
            "description": "Its broker timestamp in epoch milliseconds; -1 if it has none.",
            "type": "string",
            "pattern": r"^(-1|\d+)$",
        },
        "detector-version": {"description": "Version of the detector.", "type": "string", "minLength": 1},
    }
    optional: dict[str, Any] = {
        "detector-envelope-bytes": {"description": "Size of the key and headers that were left out.", **whole},
        "detector-value-bytes": {
            "description": "Size of the original value, of which only the start follows.",
            **whole,
        },
    }
    return {**head, "type": "object", "required": list(properties), "properties": {**properties, **optional}}


def asyncapi(examples: Mapping[str, str]) -> dict[str, Any]:
    """The AsyncAPI 3.0 document: which topics there are, who sends and what, with examples by file name."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "detector",
            "version": __version__,
            "description": "Streaming anomaly detection: metric records and log lines in, anomaly episodes out.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "metrics": _channel("{topic}", "Input topic of metric records.", TOPIC, "metric"),
            "events": _channel(
                "{prefix}.events", "Anomaly episodes: opened, updated, closed.", PREFIX, "anomaly", "log_anomaly"
            ),
            "dead_letters": _channel("{prefix}.dlq", "Records that could not be used.", PREFIX, "dead_letter"),
        },
        "operations": {
            "receive_metrics": _operation("receive", "metrics", "Score every sample of a record."),
            "send_events": _operation("send", "events", "Send one event per transition of an episode."),
            "send_dead_letters": _operation("send", "dead_letters", "Send what could not be used, with the reason."),
        },
        "components": {"messages": _messages(examples)},
    }


def _messages(examples: Mapping[str, str]) -> dict[str, Any]:
    key = {"type": "string", "pattern": "^[0-9a-f]{16}$", "description": "Fingerprint of the series."}
    return {
        "metric": {
            "title": "Metric record",
            "contentType": "application/json",
            "payload": {"$ref": "./metric.v1.json"},
            "examples": [_example(examples, f"metric.{layout}") for layout in ("single", "array", "columnar")],
        },
        "anomaly": {
            "title": "Anomaly event",
            "contentType": "application/cloudevents+json",
            "payload": {"$ref": "./anomaly.v1.json"},
            "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
            "examples": [_example(examples, f"anomaly.{state}") for state in ANOMALIES],
        },
        "log_anomaly": {
            "title": "Log anomaly event",
            "contentType": "application/cloudevents+json",
            "payload": {"$ref": "./log_anomaly.v1.json"},
            "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
            "examples": [_example(examples, f"log_anomaly.{name}") for name in LOG_EPISODES],
        },
        "dead_letter": {
            "title": "Dead letter",
            "contentType": "application/octet-stream",
            "headers": {"$ref": "./dead_letter.v1.json"},
            "payload": {"type": "string", "format": "binary", "description": "The original bytes."},
            "examples": [{"name": "dead_letter", "headers": _decoded(examples, "dead_letter"), "payload": "not JSON"}],
        },
    }


def _example(examples: Mapping[str, str], name: str) -> dict[str, Any]:
    return {"name": name, "payload": _decoded(examples, name)}


def _decoded(examples: Mapping[str, str], name: str) -> Any:
    return msgspec.json.decode(examples[f"{name}.json"])


def _channel(address: str, description: str, parameters: Mapping[str, Any], *messages: str) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "parameters": {name: dict(parameter) for name, parameter in parameters.items()},
        "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in messages},
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _head(uri: str, title: str, description: str) -> dict[str, Any]:
    return {"$schema": DIALECT, "$id": uri, "title": title, "description": description}


def _point(description: str, time: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "required": ["time", "value"],
        "properties": {"name": NAME, "labels": LABELS, "time": time, "value": value},
    }


def _json(document: dict[str, Any]) -> str:
    return pretty(msgspec.json.encode(document))
