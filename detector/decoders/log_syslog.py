"""Syslog: RFC 5424 and RFC 3164, as senders and files have it."""

from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_text import TextDecoder
from detector.decoders.log_text_fields import SYSLOG


class SyslogDecoder(TextDecoder):
    """Messages of syslog: the service is APP-NAME or the tag, the severity the priority's."""

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits) -> None:
        super().__init__("syslog", SYSLOG, paths, limits)
