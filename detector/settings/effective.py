"""The settings as other programs and people see them: effective values without secrets, the JSON Schema, the hash."""

import hashlib
from typing import Any, Final

import orjson

from detector.settings.models import Settings

SCHEMA_ID: Final = "urn:detector:schemas:settings.v1"
"""Identifies the schema file; it is a name, not an address."""
HASHED_SECTIONS: Final = ("decoder", "models", "policies", "series")
"""What decides the scores and events of a given input; a change of any of it is a different detector."""
HASH_CHARACTERS: Final = 16


def effective(settings: Settings) -> dict[str, Any]:
    """Every setting in force, as plain JSON values, secrets hidden."""
    return settings.model_dump(mode="json")


def config_hash(settings: Settings) -> str:
    """First 16 hex digits of the SHA-256 over the canonical JSON of the parts that decide scores and events."""
    part = settings.model_dump(mode="json", include=set(HASHED_SECTIONS))
    return hashlib.sha256(orjson.dumps(part, option=orjson.OPT_SORT_KEYS)).hexdigest()[:HASH_CHARACTERS]


def settings_schema() -> dict[str, Any]:
    """Build the JSON Schema (draft 2020-12) of a settings file."""
    schema = Settings.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
        "title": "detector settings",
    }
