"""Logfmt: pairs of ``key=value``."""

from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_text import TextDecoder
from detector.decoders.log_text_fields import LOGFMT


class LogfmtDecoder(TextDecoder):
    """Lines of logfmt: what ``msg`` says, or the whole line where there is none."""

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits) -> None:
        super().__init__("logfmt", LOGFMT, paths, limits)
