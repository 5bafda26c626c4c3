"""Severity as it is written on real topics, and its class.

Sources: RFC 5424 section 6.2.1 (syslog, journald, GELF), OpenTelemetry's log data model (SeverityNumber), pino and
bunyan (10 to 60), Python's logging (levelno), Monolog (100 to 600), logback (5000 to 40000), klog's letters.
"""

from collections.abc import Callable, Iterable, Sequence
from types import NoneType
from typing import Final, Literal

import numpy as np

from detector.log_batches import SeverityArray

UNKNOWN, DEBUG, INFO, WARNING, ERROR, FATAL = range(6)

Scale = Literal["any", "syslog", "otel", "python"]
"""What a bare number means. ``any`` goes by its size: up to 7 syslog, 10 to 60 pino, 100 to 600 Monolog, above that
logback."""

MEMO_ENTRIES_MAX: Final = 4_096
"""Distinct spellings remembered; a memo that is full is emptied. Real streams have a dozen."""
HASHED_TYPES: Final = {str, int, float, NoneType}
"""Not bool, which would be found as 1."""
TEXT_CHARACTERS_MAX: Final = 32
"""A longer text is no level."""

WORDS: Final[dict[str, int]] = {
    word: severity
    for severity, words in (
        (
            DEBUG,
            "trace trc finest finer fine verbose vrb verb debug dbg dbug debug1 debug2 debug3 debug4 debug5 config",
        ),
        (INFO, "info inf information informational notice not note log default success ok normal statement audit"),
        (WARNING, "warning warn wrn alarm"),
        (ERROR, "error err eror severe exception failure fail"),
        (FATAL, "fatal ftl fata critical crit crt panic pnc emergency emerg alert dpanic"),
    )
    for word in words.split()
}
LETTERS: Final[dict[str, int]] = {
    "t": DEBUG,
    "v": DEBUG,
    "d": DEBUG,
    "i": INFO,
    "n": INFO,
    "w": WARNING,
    "e": ERROR,
} | dict.fromkeys("fcpa", FATAL)
NUMBER_MAX: Final = 100_000
"""A larger number is no level; logback's largest is 40,000."""
SYSLOG: Final = (FATAL, FATAL, FATAL, ERROR, WARNING, INFO, INFO, DEBUG)
"""By number: emergency, alert, critical, error, warning, notice, informational, debug."""


def severity_of(value: object, scale: Scale = "any") -> int:
    """The class of a level as it was written, 0 where it is none; places in ``log_batches.SEVERITY_CLASSES``."""
    if isinstance(value, str):
        return _of_text(value, scale)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNKNOWN
    return _of_number(value, scale)


def syslog_severity(number: int) -> int:
    """The class of a syslog severity, 0 to 7; 0 where it is none."""
    return SYSLOG[number] if 0 <= number < len(SYSLOG) else UNKNOWN


def otel_severity(number: int) -> int:
    """The class of OpenTelemetry's SeverityNumber, 1 to 24; 0 where it is none."""
    if not 1 <= number <= 24:  # noqa: PLR2004  # the ends of the scale
        return UNKNOWN
    return DEBUG if number < 9 else (number - 1) // 4  # noqa: PLR2004  # trace is 1 to 4, debug 5 to 8, then fours


class SeverityMemo:
    """:func:`severity_of` over columns: each distinct value is read once. The memo is a cache and changes no answer."""

    def __init__(self, scale: Scale = "any") -> None:
        self._scale: Scale = scale
        self._known: dict[object, int] = {None: UNKNOWN}

    def column(self, values: Sequence[object]) -> SeverityArray:
        """Classes of ``values``, int8; None is unknown."""
        types = set(map(type, values))
        if types == {NoneType}:
            return np.zeros(len(values), np.int8)
        read = self._known.__getitem__ if types <= HASHED_TYPES else self.of
        try:
            return np.fromiter(map(read, values), np.int8, len(values))
        except KeyError:
            return np.fromiter(map(self.of, values), np.int8, len(values))

    def of(self, value: object) -> int:
        """The class of one value."""
        if type(value) not in HASHED_TYPES or (isinstance(value, str) and len(value) > TEXT_CHARACTERS_MAX):
            return UNKNOWN
        found = self._known.get(value)
        if found is None:
            found = severity_of(value, self._scale)
            if len(self._known) >= MEMO_ENTRIES_MAX:
                self._known = {None: UNKNOWN}
            self._known[value] = found
        return found


def _of_text(text: str, scale: Scale) -> int:
    if len(text) > TEXT_CHARACTERS_MAX:
        return UNKNOWN
    word = text.strip(" \t\r\n[]<>():").lower()
    found = WORDS.get(word)
    if found is not None:
        return found
    if word.isascii() and word.isdigit():
        return _of_number(int(word), scale)
    return LETTERS.get(word, UNKNOWN) if len(word) == 1 else _of_composed(word)


def _of_composed(word: str) -> int:
    """``INFO+2`` of Go's slog, ``warn2`` of OpenTelemetry, ``level:error``, ``log.WARN``: the last word that is one."""
    letters = "".join(character if "a" <= character <= "z" else " " for character in word)
    return next((WORDS[part] for part in reversed(letters.split()) if part in WORDS), UNKNOWN)


def _of_number(number: float, scale: Scale) -> int:
    if not 0 <= number <= NUMBER_MAX or number != int(number):
        return UNKNOWN
    reading: Callable[[int], int] = _READINGS[scale]
    return reading(int(number))


def _of_python(number: int) -> int:
    return _steps(number, ((1, DEBUG), (20, INFO), (30, WARNING), (40, ERROR), (50, FATAL)))


def _of_any(number: int) -> int:
    if number < 8:  # noqa: PLR2004  # syslog's end
        return syslog_severity(number)
    if number < 100:  # noqa: PLR2004  # pino's steps lie between
        return _steps(number, ((10, DEBUG), (30, INFO), (40, WARNING), (50, ERROR), (60, FATAL)))
    if number < 1000:  # noqa: PLR2004  # Monolog's lie between
        return _steps(number, ((100, DEBUG), (200, INFO), (300, WARNING), (400, ERROR), (500, FATAL)))
    return _steps(number, ((1000, UNKNOWN), (5000, DEBUG), (20000, INFO), (30000, WARNING), (40000, ERROR)))


def _steps(number: int, steps: Iterable[tuple[int, int]]) -> int:
    """The class of the last step that ``number`` has reached."""
    found = UNKNOWN
    for least, severity in steps:
        if number >= least:
            found = severity
    return found


_READINGS: Final[dict[Scale, Callable[[int], int]]] = {
    "any": _of_any,
    "syslog": syslog_severity,
    "otel": otel_severity,
    "python": _of_python,
}
