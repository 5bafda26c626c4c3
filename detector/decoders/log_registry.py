"""Every log format by its settings name; contract tests run over all of them."""

from collections.abc import Callable
from typing import Final

from detector.decoders.log_decoder import LogDecoder, LogDecoderLimits, LogPaths

LOG_DECODERS: Final[dict[str, Callable[[LogPaths, LogDecoderLimits], LogDecoder]]] = {}
