"""Every log format by its settings name; contract tests run over all of them."""

from collections.abc import Callable
from typing import Final

from detector.decoders.log_decoder import LogDecoder, LogDecoderLimits, LogPaths
from detector.decoders.log_json import json_decoder
from detector.decoders.log_loki import LokiLogDecoder
from detector.decoders.log_otlp_json import OtlpJsonLogDecoder
from detector.decoders.log_otlp_proto import OtlpProtoLogDecoder

LOG_DECODERS: Final[dict[str, Callable[[LogPaths, LogDecoderLimits], LogDecoder]]] = {
    "json": json_decoder("json"),
    "fluentbit": json_decoder("fluentbit"),
    "ecs": json_decoder("ecs"),
    "vector": json_decoder("vector"),
    "gelf": json_decoder("gelf"),
    "journald": json_decoder("journald"),
    "otlp_json": OtlpJsonLogDecoder,
    "otlp_proto": OtlpProtoLogDecoder,
    "loki": LokiLogDecoder,
}
