"""The settings as other programs and people see them: effective values without secrets, the JSON Schema, the hash."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

from detector.settings.models import Settings

SCHEMA_ID: Final = "urn:detector:schemas:settings.v1"
"""Identifies the schema file; it is a name, not an address."""
HASHED_SECTIONS: Final = ("decoder", "models", "policies", "series")
"""What decides the scores and events of a given input; a change of any of it is a different detector."""
HASHED_FOR_LOGS: Final = ("logs", "decoder", "series")
"""The same for topics of log lines; which topics these are decides nothing."""
RESULTLESS_LIMITS: Final = ("cached_lines_max", "cache_bytes_per_service")
"""Of ``logs.limits``: they decide how fast it goes, and nothing that comes of it."""
HASH_CHARACTERS: Final = 16


def effective(settings: Settings) -> dict[str, Any]:
    """Every setting in force, as plain JSON values, secrets hidden."""
    return settings.model_dump(mode="json")


def config_hash(settings: Settings, topic: str | None = None) -> str:
    """First 16 hex digits of the SHA-256 over the canonical JSON of the parts that decide scores and events.

    Those of metrics, or of log lines where ``topic`` holds those: either may change without the other.
    """
    if topic is not None and is_log_topic(settings, topic):
        return log_config_hash(settings)
    return _digest(settings.model_dump(mode="json", include=set(HASHED_SECTIONS)))


def log_config_hash(settings: Settings) -> str:
    """The same of the parts that decide what comes of log lines, whether they come from a topic or a file."""
    part = settings.model_dump(mode="json", include=set(HASHED_FOR_LOGS))
    del part["logs"]["topics"]
    for name in RESULTLESS_LIMITS:
        del part["logs"]["limits"][name]
    part["decoder"] = part["decoder"]["limits"]
    part["series"] = part["series"]["idle_expiry_s"]
    return _digest(part)


def _digest(part: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(part, option=orjson.OPT_SORT_KEYS)).hexdigest()[:HASH_CHARACTERS]


def is_log_topic(settings: Settings, topic: str) -> bool:
    """Whether this topic holds log lines; one that begins with ``^`` is a pattern, as for librdkafka."""
    return is_one_of(topic, settings.logs.topics)


def is_one_of(topic: str, names: Sequence[str]) -> bool:
    """Whether ``topic`` is named, or matched by a pattern."""
    return any(re.match(name, topic) is not None if name.startswith("^") else name == topic for name in names)


def input_topics(settings: Settings) -> tuple[str, ...]:
    """Every topic that is read, of metrics and of log lines."""
    return (*settings.kafka.topics, *settings.logs.topics)


def settings_schema() -> dict[str, Any]:
    """Build the JSON Schema (draft 2020-12) of a settings file."""
    schema = Settings.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
        "title": "detector settings",
    }
