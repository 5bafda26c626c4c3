"""Lines as Kubernetes' container runtimes write them to files, with whatever the program wrote inside."""

from dataclasses import replace
from typing import Final

import numpy as np

from detector.batches import IntArray, RecordBatch
from detector.decoders.log_decoder import LogDecoder, LogDecoderLimits, LogPaths
from detector.decoders.log_text import TextDecoder
from detector.decoders.log_text_fields import CRI, FLAGS, JSON
from detector.log_batches import LogBatch


class CriDecoder(TextDecoder):
    """Lines of the Container Runtime Interface. The time is the runtime's.

    What is JSON within goes to ``inner``, a decoder of JSON, as a record with the runtime's time as its broker's;
    what that refuses stays as it was written. Logfmt within gives its message, severity, service and trace; a time
    before a plain message is left out. Pieces (``P``) are no JSON, nor is what they end up as.
    """

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits, inner: LogDecoder) -> None:
        super().__init__("cri", CRI, paths, limits)
        self._inner: Final = inner

    def decode(self, batch: RecordBatch) -> LogBatch:
        """All lines and rejects of ``batch``; the same whichever way the stream was cut."""
        found, table = self.decoded(batch)
        places = np.flatnonzero(table[:, FLAGS] & JSON)
        return found if not len(places) else self._opened(batch, found, places)

    def _opened(self, batch: RecordBatch, found: LogBatch, places: IntArray) -> LogBatch:
        """The lines with those at ``places``, which look like JSON, as ``inner`` reads them."""
        at: list[int] = places.tolist()
        within = RecordBatch(
            batch.topic,
            batch.partition,
            found.offsets[places],
            found.times_ms[places],
            [found.lines[place] for place in at],
        )
        inner = self._inner.decode(within)
        once = np.flatnonzero(np.bincount(inner.rows, minlength=len(at)) == 1)
        used = np.isin(inner.rows, once)
        taken = places[inner.rows[used]]
        times_ms, severities, parts = found.times_ms.copy(), found.severities.copy(), found.parts.copy()
        times_ms[taken], severities[taken], parts[taken] = (
            inner.times_ms[used],
            inner.severities[used],
            inner.parts[used],
        )
        lines, keys = list(found.lines), list(found.keys)
        traces = list(found.traces or [None] * len(found))
        inner_traces = inner.traces or [None] * len(inner)
        for line, place in zip(np.flatnonzero(used).tolist(), taken.tolist(), strict=True):
            lines[place], keys[place], traces[place] = inner.lines[line], inner.keys[line], inner_traces[line]
        lines_cut = self._cut(lines, np.setdiff1d(places, taken).tolist())
        return replace(
            found,
            times_ms=times_ms,
            severities=severities,
            parts=parts,
            lines=lines,
            keys=keys,
            traces=traces if any(traces) else None,
            lines_cut=found.lines_cut + inner.lines_cut + lines_cut,
        )
