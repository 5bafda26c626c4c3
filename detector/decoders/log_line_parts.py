"""How messages that came in records stand to their neighbours: the parts that the joiner goes by."""

from collections.abc import Sequence

import numpy as np

from detector.batches import BoolArray
from detector.decoders.log_text_marks import mark
from detector.log_batches import WHOLE, SeverityArray


def line_parts(lines: Sequence[bytes], severities: SeverityArray, streamed: BoolArray | None) -> SeverityArray:
    """Parts, int8[m], of ``lines`` of the ``severities`` int8[m] that their records tell.

    A record that tells a severity is whole, as its program wrote it: it may begin with a blank, and a trace that comes
    behind it line by line is of another writer. What collectors send line by line tells none, or that of the stream,
    where ``streamed``, bool[m], says so.
    """
    untold = np.flatnonzero(severities == 0 if streamed is None else streamed | (severities == 0))
    if len(untold) < len(lines):
        lines = [lines[place] for place in untold.tolist()]
    parts = np.full(len(severities), WHOLE, np.int8)
    if lines:
        found = np.empty(len(lines), np.int8)
        ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
        mark(np.frombuffer(b"".join(lines), np.uint8), ends, found)
        parts[untold] = found
    return parts
