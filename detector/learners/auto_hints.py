"""What the name and the unit of a series tell of its values, before any is seen.

A series of seconds, bytes or percent measures something, and one that is called ``up`` tells a state: neither counts
events, however its first values look. Names that tell nothing leave the choice to the values.

Sources: the Unified Code for Units of Measure (UCUM), whose dimensionless unit is ``1`` and whose annotations stand in
braces; the OpenMetrics specification, "Units and Base Units", for names that end in their unit.
"""

import re
from typing import Final

from detector.batches import SeriesIdentity

NO_HINT: Final = 0
NOT_COUNTS: Final = 1
"""The values are a measure or a state."""
HINTS: Final = 2
"""How many hints there are."""

COUNT_ENDINGS: Final = frozenset({"bucket", "count"})
"""``request_duration_seconds_count`` counts requests, whatever it says before."""
STATE_ENDINGS: Final = frozenset(
    {"enabled", "healthy", "info", "leader", "ready", "state", "status", "timestamp", "up"}
)
MEASURES: Final = frozenset(
    {
        *("seconds", "milliseconds", "microseconds", "nanoseconds", "duration", "latency", "uptime", "age", "lag"),
        *("bytes", "kilobytes", "megabytes", "gigabytes", "kibibytes", "mebibytes", "gibibytes", "bits", "hertz"),
        *("ratio", "percent", "percentage", "pct", "fraction", "utilization", "utilisation", "usage", "temperature"),
        *("celsius", "fahrenheit", "kelvin", "volts", "amperes", "watts", "joules", "pascals", "grams", "meters"),
    }
)
"""Words of a name, and units written out."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ANNOTATION: Final = re.compile(r"\{[^}]*\}")
_UNIT: Final = re.compile(
    r"(?:[YZEPTGMkhdcmunpf]|da|[KMGTPE]i)?(?:s|By|B|bit|b|m|g|Hz|V|A|W|Wh|J|K|Pa|L|l)|min|h|d|wk|mo|a|%|Cel|\[degF\]"
)
"""A unit of UCUM that measures, with a prefix or without."""


def hint_of(identity: SeriesIdentity) -> int:
    """``NOT_COUNTS`` or ``NO_HINT``: a function of the name and the unit alone.

    >>> hint_of(SeriesIdentity("http_request_duration_seconds_sum", {}, "", "")) == NOT_COUNTS
    True
    >>> hint_of(SeriesIdentity("http_request_duration_seconds_count", {}, "", "")) == NO_HINT
    True
    >>> hint_of(SeriesIdentity("queue", {}, "", "", unit="MiBy")) == NOT_COUNTS
    True
    """
    if identity.unit is not None and _measures(identity.unit):
        return NOT_COUNTS
    words = [word.lower() for word in _WORD.findall(identity.name)]
    if not words or words[-1] in COUNT_ENDINGS:
        return NO_HINT
    return NOT_COUNTS if words[-1] in STATE_ENDINGS or not MEASURES.isdisjoint(words) else NO_HINT


def _measures(unit: str) -> bool:
    """Whether the numerator of a unit measures; one that is made of annotations, or of words not known, need not."""
    numerator = _ANNOTATION.sub("", unit).strip().partition("/")[0]
    return _UNIT.fullmatch(numerator) is not None or numerator.lower() in MEASURES
