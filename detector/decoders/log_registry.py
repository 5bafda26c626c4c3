"""Every log format by its settings name; contract tests run over all of them."""

from collections.abc import Callable
from typing import Final

from detector.decoders.log_decoder import LogDecoder, LogDecoderLimits, LogPaths
from detector.decoders.log_json import AnyJsonLogDecoder, profile_decoder
from detector.decoders.log_loki import LokiLogDecoder
from detector.decoders.log_otlp_json import OtlpJsonLogDecoder
from detector.decoders.log_otlp_proto import OtlpProtoLogDecoder

LOG_DECODERS: Final[dict[str, Callable[[LogPaths, LogDecoderLimits], LogDecoder]]] = {
    "json": AnyJsonLogDecoder,
    "fluentbit": profile_decoder("fluentbit"),
    "ecs": profile_decoder("ecs"),
    "vector": profile_decoder("vector"),
    "gelf": profile_decoder("gelf"),
    "journald": profile_decoder("journald"),
    "otlp_json": OtlpJsonLogDecoder,
    "otlp_proto": OtlpProtoLogDecoder,
    "loki": LokiLogDecoder,
}
