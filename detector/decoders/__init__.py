"""Bytes become samples: one file per wire format.

A decoder is pure and total: it never raises on input, accounts for every record (samples, or exactly one reject), and
gives the same samples whichever way a stream is cut into batches. What a series *is* belongs to the series room; a
decoder only says by which key it may be recognised and, on first sight, which name and labels that key stands for.
"""

from collections.abc import Callable
from typing import Final

from detector.decoders.decoder import Decoder, DecoderLimits, LabelFault, NamedLabels
from detector.decoders.json_metrics import JsonMetricsDecoder
from detector.decoders.json_paths import JsonPaths
from detector.decoders.log_decoder import LogDecoder, LogDecoderLimits, LogPaths
from detector.decoders.log_join import JoinCounts, Joiner, JoinLimits
from detector.decoders.log_registry import LOG_DECODERS

DECODERS: Final[dict[str, Callable[[JsonPaths, DecoderLimits], Decoder]]] = {"json": JsonMetricsDecoder}
"""Every wire format by its settings name; contract tests run over all of them."""

__all__ = [
    "DECODERS",
    "LOG_DECODERS",
    "Decoder",
    "DecoderLimits",
    "JoinCounts",
    "JoinLimits",
    "Joiner",
    "JsonMetricsDecoder",
    "JsonPaths",
    "LabelFault",
    "LogDecoder",
    "LogDecoderLimits",
    "LogPaths",
    "NamedLabels",
]
