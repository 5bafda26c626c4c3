"""Structured logs: JSON for machines, colours for a terminal; warnings that could flood are told once a minute."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

LogFormat = Literal["json", "console", "auto"]
LogLevel = Literal["debug", "info", "warning", "error"]

CLIENT_LOGGER: Final = "detector.librdkafka"
"""Where io lets the Kafka client write."""
RARE_INTERVAL_S: Final = 60.0
"""One line a minute and subject is enough to act on and too little to fill a disk."""


def configure_logs(log_format: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Send structlog's events to ``stream`` (standard error unless told), one line each."""
    target = stream or sys.stderr
    wanted = logging.getLevelNamesMapping()[level.upper()]
    console = log_format == "console" or (log_format == "auto" and target.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    ending: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=target.isatty())]
        if console
        else [structlog.processors.dict_tracebacks, _render_json]
    )
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(wanted),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    _bridge_foreign(target, wanted, shared, ending)


def _bridge_foreign(target: TextIO, wanted: int, shared: list[Processor], ending: list[Processor]) -> None:
    """Give lines of the standard library's logging (librdkafka's among them) the same form and place."""
    bridge = logging.StreamHandler(target)
    bridge.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    bridge.addFilter(SeldomRepeats(CLIENT_LOGGER, time.monotonic))
    root = logging.getLogger()
    root.handlers = [bridge]
    root.setLevel(max(wanted, logging.INFO))


def _render_json(_logger: object, _method: str, event: EventDict) -> str:
    ordered = {"time": event.pop("time", None), "level": event.pop("level", None), "event": event.pop("event", None)}
    return orjson.dumps({**ordered, **event}, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class SeldomRepeats(logging.Filter):
    """Lets a line of one logger through when none that began alike came within ``RARE_INTERVAL_S``.

    During an outage librdkafka writes the same line twenty times a second, from each client, for as long as it lasts.
    Alike are lines with the same level and the same first two words: what happened, and to which client.
    """

    def __init__(self, logger_name: str, monotonic_s: Callable[[], float]) -> None:
        super().__init__()
        self._logger_name = logger_name
        self._monotonic_s = monotonic_s
        self._told_s: dict[tuple[int, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the line is to be written."""
        if record.name != self._logger_name:
            return True
        key = (record.levelno, " ".join(record.getMessage().split(maxsplit=2)[:2]))
        moment = self._monotonic_s()
        if moment - self._told_s.get(key, -RARE_INTERVAL_S) < RARE_INTERVAL_S:
            return False
        self._told_s[key] = moment
        return True


class RareWarnings:
    """Warnings that may come with every batch, told at most once per ``RARE_INTERVAL_S``, event name and subject.

    What was not told is added up: each line carries the count since the line before. ``monotonic_s`` is the clock.
    """

    def __init__(self, log: FilteringBoundLogger, monotonic_s: Callable[[], float]) -> None:
        self._log = log
        self._monotonic_s = monotonic_s
        self._told_s: dict[tuple[str, str, int], float] = {}
        self._untold: dict[tuple[str, str, int], int] = {}
        self._facts: dict[tuple[str, str, int], dict[str, Any]] = {}

    def add(self, event: str, topic: str, partition: int, count: int, **facts: object) -> None:
        """Count ``event`` and tell it when its minute has passed."""
        key = (event, topic, partition)
        self._untold[key] = self._untold.get(key, 0) + count
        self._facts[key] = facts
        moment = self._monotonic_s()
        if moment - self._told_s.get(key, -RARE_INTERVAL_S) >= RARE_INTERVAL_S:
            self._told_s[key] = moment
            self._tell(key)

    def flush(self) -> None:
        """Tell what is still untold, at the end."""
        for key in [key for key, count in self._untold.items() if count]:
            self._tell(key)

    def _tell(self, key: tuple[str, str, int]) -> None:
        event, topic, partition = key
        self._log.warning(event, topic=topic, partition=partition, count=self._untold[key], **self._facts[key])
        self._untold[key] = 0
