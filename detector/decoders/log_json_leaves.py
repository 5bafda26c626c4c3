"""From typed points to columns of lines: messages, severities, times, services and traces of one profile."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np

from detector.batches import IntArray
from detector.decoders.json_lines import Fault
from detector.decoders.log_decoder import LogPaths
from detector.decoders.log_json_fields import Fields, Profile, first_of
from detector.decoders.log_lines import LineColumns, encoded, traces_of
from detector.decoders.log_service import ServiceReader
from detector.decoders.log_severity import SeverityMemo
from detector.decoders.time_columns import column_ms, value_ms
from detector.decoders.values import scalar_fault
from detector.log_batches import SeverityArray

JOURNAL_MESSAGE: Final = "MESSAGE"
"""journald writes a message that is not UTF-8 as an array of its bytes."""
CLEF_TEMPLATES: Final = ("@mt", "@m")
CLEF_DEFAULT: Final = "Information"
"""An event of Serilog's compact format without a level."""


def with_paths(profile: Profile, paths: LogPaths) -> Profile:
    """The profile that looks only at the paths that are given, where one is."""
    given = _given(paths)
    if paths.service is not None:
        given |= {"services": ((paths.service,),)}
    return replace(profile, **given, times_strict=paths.time is not None)


def beside_paths(profile: Profile, paths: LogPaths) -> Profile:
    """The profile that looks first at the paths that are given: for objects inside the one that they are meant for."""
    given: dict[str, Any] = {part: (*places, *getattr(profile, part)) for part, places in _given(paths).items()}
    return replace(profile, **given)


def _given(paths: LogPaths) -> dict[str, Any]:
    parts = {"messages": paths.message, "severities": paths.severity, "times": paths.time, "traces": paths.trace}
    return {part: (path,) for part, path in parts.items() if path is not None}


class Leaves:
    """Columns of lines from points of one profile.

    ``markers`` are keys that are looked at for their presence only.
    """

    def __init__(self, profile: Profile, utc_offset_ms: int, markers: Sequence[str] = ()) -> None:
        self._profile = profile
        self._utc_offset_ms = utc_offset_ms
        self._clef = CLEF_TEMPLATES if "@l" in profile.severities else ()
        values = (*profile.messages, *profile.severities, *profile.times, *profile.traces, *profile.stacks, *self._clef)
        tiers = [[place for place in tier if place not in values] for tier in profile.services]
        surroundings = [place for place in profile.surroundings if place not in values]
        told = (place for tier in (*tiers, surroundings) for place in tier)
        self.fields: Final = Fields(tuple(dict.fromkeys(values)), tuple(dict.fromkeys(told)), markers)
        self.missing: Final = f"no message at {' or '.join(profile.messages[:3])}"
        self._services = ServiceReader(self.fields, tiers, surroundings)
        self._severities = SeverityMemo(profile.scale)

    def messages(self, points: Sequence[Any]) -> list[Any]:
        """The message of each point as it was parsed, None where it has none."""
        messages = first_of(self.fields, points, self._profile.messages)
        if JOURNAL_MESSAGE in self._profile.messages and list in set(map(type, messages)):
            return _byte_arrays(messages)
        return messages

    def columns(self, rows: IntArray, points: Sequence[Any], messages: Sequence[Any]) -> LineColumns:
        """Lines of ``points``, each of which has a message."""
        lines = self._with_stacks(points, lines_of(messages))
        traces = first_of(self.fields, points, self._profile.traces)
        return LineColumns(
            rows=rows,
            lines=lines,
            times_ms=self.times_ms(points),
            severities=self.severities(points),
            keys=self._services.keys(points),
            traces=None if traces.count(None) == len(traces) else traces_of(traces),
            streamed=np.ones(len(lines), np.bool_) if self._profile.streamed else None,
        )

    def severities(self, points: Sequence[Any]) -> SeverityArray:
        """Class of each point's severity."""
        values = first_of(self.fields, points, self._profile.severities)
        if self._clef and None in values:
            templates = first_of(self.fields, points, self._clef)
            if templates.count(None) < len(templates):
                values = [
                    CLEF_DEFAULT if value is None and template is not None else value
                    for value, template in zip(values, templates, strict=True)
                ]
        return self._severities.column(values)

    def times_ms(self, points: Sequence[Any]) -> IntArray:
        """Time of each point; negative where it tells none. Where the first place has no time, the others are tried."""
        places = self._profile.times
        found = column_ms(first_of(self.fields, points, places), self._utc_offset_ms)
        for at in np.flatnonzero(found < 0).tolist() if len(places) > 1 else ():
            readings = (value_ms(self.fields.column([points[at]], place)[0], self._utc_offset_ms) for place in places)
            found[at] = next((reading for reading in readings if reading >= 0), -1)
        return found

    def unreadable(self, points: Sequence[Any], times_ms: IntArray) -> dict[int, Fault]:
        """By place, the points with something that is no time at the path that was given for it."""
        if not self._profile.times_strict:
            return {}
        values = self.fields.column(points, self._profile.times[0])
        places: list[int] = np.flatnonzero(times_ms < 0).tolist()
        return {place: scalar_fault("time", values[place]) for place in places if values[place] is not None}

    def _with_stacks(self, points: Sequence[Any], lines: list[bytes]) -> list[bytes]:
        """Lines with the stack trace behind them that stands in a field of its own."""
        stacks = first_of(self.fields, points, self._profile.stacks)
        if stacks.count(None) == len(stacks):
            return lines
        return list(map(joined, lines, stacks))


def lines_of(messages: Sequence[Any]) -> list[bytes]:
    """Messages as bytes: text as it is, an array of bytes as these, everything else as compact JSON."""
    try:
        return encoded(messages)
    except TypeError:
        return [encoded((message,))[0] if isinstance(message, str) else _rendered(message) for message in messages]


def _rendered(message: Any) -> bytes:
    if isinstance(message, bytes):
        return message.rstrip(b"\r\n")
    try:
        return msgspec.json.encode(message)
    except (msgspec.MsgspecError, UnicodeEncodeError, OverflowError, RecursionError):
        return repr(message).encode("utf-8", "replace")


def _byte_arrays(values: Sequence[Any]) -> list[Any]:
    """Lists that are arrays of bytes as such; everything else as it is."""
    return [
        bytes(value)
        if isinstance(value, list) and value and all(type(one) is int and 0 <= one < 256 for one in value)  # noqa: PLR2004  # a byte
        else value
        for value in values
    ]


def joined(line: bytes, stack: object) -> bytes:
    """``line`` and the stack trace beside it; a full message that begins with the short one stands for both."""
    if not isinstance(stack, str) or not stack.strip():
        return line
    trace = stack.encode("utf-8", "replace").rstrip()
    return trace if trace.startswith(line) else line + b"\n" + trace
