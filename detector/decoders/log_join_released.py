"""What a joiner gives: the lines that a batch released, in the order of their release."""

from typing import Final

import numpy as np

from detector.batches import IntArray, Reject
from detector.decoders.log_join_stored import HeldLine
from detector.log_batches import WHOLE, LogBatch


def _blank(lines: int) -> LogBatch:
    return LogBatch(
        rows=np.zeros(lines, np.int64),
        offsets=np.zeros(lines, np.int64),
        keys=[("", b"")] * lines,
        times_ms=np.zeros(lines, np.int64),
        severities=np.zeros(lines, np.int8),
        lines=[b""] * lines,
        parts=np.zeros(lines, np.int8),
        traces=None,
        rejects=[],
    )


NOTHING: Final = _blank(0)
_ONE: Final = _blank(1)
"""Stands for a batch of which nothing is taken."""


class Released:
    """Lines that come out while ``batch`` is fed; each with the place of the line that released it.

    A place releases what waited for its key, then, perhaps, the line that stands there itself.
    """

    __slots__ = ("_at", "_batch", "_held", "_held_at", "_places", "_refused")

    def __init__(self, batch: LogBatch) -> None:
        self._batch = batch
        self._at: list[IntArray] = []
        self._places: list[IntArray] = []
        self._held: list[HeldLine] = []
        self._held_at: list[int] = []
        self._refused: list[int] = []

    def put(self, at: int, held: HeldLine, *, itself: bool = False) -> None:
        """One line, perhaps of several; ``itself``: of the place that releases it, or behind what is."""
        self._held.append(held)
        self._held_at.append(2 * at + itself)

    def put_columns(self, at: IntArray, places: IntArray, *, itself: bool) -> None:
        """Lines as they stand in the batch at ``places``, int64[m], released at ``at``, int64[m]."""
        self._at.append(2 * at + itself)
        self._places.append(places)

    def refuse(self, place: int) -> None:
        """A line that goes on with nothing, and has no time."""
        self._refused.append(place)

    def lines(self) -> LogBatch:
        """All of them, with the rest of the batch as it is."""
        batch, held = self._batch, self._held
        places = np.concatenate([*self._places, -1 - np.arange(len(held))])
        places = places[np.argsort(np.concatenate([*self._at, self._held_at]), kind="stable")]
        joined = [(at, held[-1 - int(places[at])]) for at in np.flatnonzero(places < 0).tolist()]
        for at, each in joined:
            places[at] = max(each.place, 0)
        source = batch if len(batch) else _ONE
        own: list[int] = places.tolist()
        lines, keys = [source.lines[place] for place in own], [source.keys[place] for place in own]
        rows, offsets, times_ms = source.rows[places], source.offsets[places], source.times_ms[places]
        severities = source.severities[places]
        traces: list[str | None] | None = None
        if source.traces is not None or any(each.trace is not None for _, each in joined):
            known = source.traces or [None] * len(source)
            traces = [known[place] for place in own]
        for at, each in joined:
            lines[at] = each.text()
            if each.place < 0:
                keys[at] = each.key
                rows[at], offsets[at], times_ms[at], severities[at] = -1, each.offset, each.time_ms, each.severity
                if traces is not None:
                    traces[at] = each.trace
        return LogBatch(
            rows=rows,
            offsets=offsets,
            keys=keys,
            times_ms=times_ms,
            severities=severities,
            lines=lines,
            parts=np.full(len(rows), WHOLE, np.int8),
            traces=traces,
            rejects=self._rejects(),
            formats=batch.formats,
            lines_cut=batch.lines_cut,
            in_pieces=batch.in_pieces,
        )

    def _rejects(self) -> list[Reject]:
        """Those of the batch, and one for each other record of which a line is refused."""
        batch, found = self._batch, list(self._batch.rejects)
        rejected = {reject.row for reject in found}
        detail = "the line goes on with no other, and neither it nor the broker tells a time"
        for place in sorted(self._refused):
            row = int(batch.rows[place])
            if row not in rejected:
                rejected.add(row)
                found.append(Reject(row, int(batch.offsets[place]), "time_unreadable", detail))
        return sorted(found)
