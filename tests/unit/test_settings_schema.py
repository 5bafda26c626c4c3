"""The published schema of the settings: up to date, valid, and true."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from detector.commands.schema import settings_document
from detector.settings import Settings, settings_schema

FILE = Path(__file__).parents[2] / "schemas" / "settings.v1.json"


def models_of(schema: Any) -> Iterator[dict[str, Any]]:
    for node in (schema, *schema["$defs"].values()):
        if "properties" in node:
            yield node


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_text(encoding="utf-8") == settings_document(), "run: python schemas/generate.py"


def test_it_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(settings_schema())


def test_every_setting_has_a_sentence() -> None:
    schema = settings_schema()
    missing = [
        f"{node['title']}.{name}"
        for node in models_of(schema)
        for name, field in node["properties"].items()
        # A section's sentence stands at its definition.
        if not {**schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {}), **field}.get("description")
    ]
    assert not missing


def test_every_section_refuses_unknown_keys() -> None:
    assert all(node["additionalProperties"] is False for node in models_of(settings_schema()))


@pytest.mark.parametrize(
    ("settings", "valid"),
    [
        ({}, True),
        ({"kafka": {"topics": ["a"], "librdkafka": {"linger.ms": 5}}}, True),
        ({"policies": [{"name": "a", "open": "3 of 5"}]}, True),
        ({"policies": [{"name": "a", "open": {"points": 3, "window": 5}}]}, True),
        ({"models": {"m": {"river": "river.anomaly.HalfSpaceTrees"}, "n": {"residual": {}}, "o": "auto"}}, True),
        ({"policies": [{"name": "a", "open": "often"}]}, False),
        ({"kafka": {"topicss": []}}, False),
        ({"telemetry": {"http_port": 70_000}}, False),
    ],
)
def test_it_tells_right_from_wrong(settings: dict[str, Any], valid: bool) -> None:  # noqa: FBT001  # a case of the table
    assert Draft202012Validator(json.loads(FILE.read_text(encoding="utf-8"))).is_valid(settings) == valid


def test_every_section_is_frozen() -> None:
    sections = [field.annotation for field in Settings.model_fields.values()]
    models = [section for section in sections if isinstance(section, type) and issubclass(section, BaseModel)]
    assert models
    assert all(model.model_config.get("frozen") for model in models)
