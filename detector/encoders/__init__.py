"""Transitions become bytes.

An event is a function of its arguments alone: no clock, no randomness, so that a replay sends the same bytes under the
same id. An operator must understand one event without opening a dashboard. The schema is generated from the code that
encodes.
"""

from collections.abc import Callable, Mapping
from typing import Final

from detector.encoders.cloudevents import CloudEventsEncoder
from detector.encoders.encoder import Encoder, ModelFacts, Provenance
from detector.encoders.schemas import schema_documents

EncoderFactory = Callable[[str], Encoder]
"""Makes an encoder from the URI reference that names this detector in its events."""

ENCODERS: Final[Mapping[str, EncoderFactory]] = {"cloudevents": CloudEventsEncoder}

__all__ = [
    "ENCODERS",
    "CloudEventsEncoder",
    "Encoder",
    "EncoderFactory",
    "ModelFacts",
    "Provenance",
    "schema_documents",
]
