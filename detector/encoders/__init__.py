"""Transitions become bytes.

An event is a function of its arguments alone: no clock, no randomness, so that a replay sends the same bytes under the
same id. An operator must understand one event without opening a dashboard. The schema is generated from the code that
encodes.
"""

from collections.abc import Callable, Mapping
from typing import Final

from detector.encoders.cloudevents import CloudEventsEncoder
from detector.encoders.encoder import Encoder, LogEncoder, LogModelFacts, ModelFacts, Provenance
from detector.encoders.log_cloudevents import LogCloudEventsEncoder
from detector.encoders.redaction import Redactor
from detector.encoders.schemas import schema_documents

EncoderFactory = Callable[[str], Encoder]
"""Makes an encoder from the URI reference that names this detector in its events."""

ENCODERS: Final[Mapping[str, EncoderFactory]] = {"cloudevents": CloudEventsEncoder}

LogEncoderFactory = Callable[[str], LogEncoder]
"""Likewise, for transitions of log lines."""

LOG_ENCODERS: Final[Mapping[str, LogEncoderFactory]] = {"cloudevents": LogCloudEventsEncoder}

__all__ = [
    "ENCODERS",
    "LOG_ENCODERS",
    "CloudEventsEncoder",
    "Encoder",
    "EncoderFactory",
    "LogCloudEventsEncoder",
    "LogEncoder",
    "LogEncoderFactory",
    "LogModelFacts",
    "ModelFacts",
    "Provenance",
    "Redactor",
    "schema_documents",
]
