"""Every log format by its settings name; contract tests run over all of them."""

from collections.abc import Callable
from typing import Final

from detector.decoders.log_auto import AutoDecoder
from detector.decoders.log_cri import CriDecoder
from detector.decoders.log_decoder import LogDecoder, LogDecoderLimits, LogPaths
from detector.decoders.log_json import AnyJsonLogDecoder, profile_decoder
from detector.decoders.log_logfmt import LogfmtDecoder
from detector.decoders.log_loki import LokiLogDecoder
from detector.decoders.log_otlp_json import OtlpJsonLogDecoder
from detector.decoders.log_otlp_proto import OtlpProtoLogDecoder
from detector.decoders.log_syslog import SyslogDecoder
from detector.decoders.log_text import OtlpRawDecoder, PlainDecoder

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
    "plain": PlainDecoder,
    "otlp_raw": OtlpRawDecoder,
    "syslog": SyslogDecoder,
    "logfmt": LogfmtDecoder,
    "cri": lambda paths, limits: CriDecoder(paths, limits, AnyJsonLogDecoder(paths, limits)),
    "auto": lambda paths, limits: AutoDecoder(paths, limits, LOG_DECODERS),
}
