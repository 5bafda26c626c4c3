"""Messages that are JSON objects themselves: what the application wrote, as the shipper wrapped it."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_json_flavours import FlavourParser
from detector.decoders.log_json_leaves import beside_paths
from detector.decoders.log_lines import LineColumns

KEY_WITHIN: Final = 8
"""Bytes at the beginning of an object within which its first key is looked for."""
_OPEN, _CLOSE, _QUOTE = b'{}"'


class NestedJson:
    """Open messages that are JSON objects, one level deep.

    The message, severity and time inside stand before those around them, service and trace only where there are none
    around. An object without a message of its own stays the message, as it is.
    """

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits) -> None:
        self._parser = FlavourParser(
            lambda profile: beside_paths(profile, paths), paths.utc_offset_ms, limits.record_bytes_max
        )

    def open(self, columns: LineColumns) -> None:
        """Replace what is known of lines that are JSON objects, in place."""
        lines = columns.lines
        if not lines or max(lines) < b"{":
            return  # the quick answer for text in Latin letters, which come before the brace
        at = [
            place
            for place, line in enumerate(lines)
            if line and line[0] == _OPEN and line[-1] == _CLOSE and (line[1] == _QUOTE or b'"' in line[:KEY_WITHIN])
        ]
        if not at:
            return
        objects = self._parser.parse([lines[place] for place in at])
        places = np.array(at, dtype=np.int64)[objects.rows]
        for group in objects.groups:
            messages = group.leaves.messages(group.points)
            own = [b"" if message is None else message for message in messages] if None in messages else messages
            _take(columns, group.leaves.columns(places[group.places], group.points, own), messages)


def _take(columns: LineColumns, found: LineColumns, messages: Sequence[object]) -> None:
    """Put what was found inside of lines, ``found.rows``, in the place of what was around it; not a message of None."""
    at = found.rows
    told = found.severities > 0
    columns.severities[at[told]] = found.severities[told]
    timed = found.times_ms >= 0
    columns.times_ms[at[timed]] = found.times_ms[timed]
    keys = columns.keys
    if len(at) == len(keys) and None not in messages:
        columns.lines = found.lines
    else:
        for place, line, message in zip(at.tolist(), found.lines, messages, strict=True):
            if message is not None:
                columns.lines[place] = line
    if None in keys:
        for place, key in zip(at.tolist(), found.keys, strict=True):
            if keys[place] is None:
                keys[place] = key
    if found.traces is not None:
        traces = columns.traces or [None] * len(columns.lines)
        for place, trace in zip(at.tolist(), found.traces, strict=True):
            traces[place] = traces[place] or trace
        columns.traces = traces
