"""Batches cut by record and put together again."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from detector.batches import IntArray, RecordBatch
from detector.log_batches import LogBatch


def records_at(batch: RecordBatch, rows: IntArray) -> RecordBatch:
    """The records at ``rows``, int64[k], ascending."""
    places: list[int] = rows.tolist()
    values = [batch.values[place] for place in places]
    return RecordBatch(
        batch.topic,
        batch.partition,
        batch.offsets[rows],
        batch.timestamps_ms[rows],
        values,
        lambda row: batch.envelope(places[row]),
    )


def at_rows(found: LogBatch, rows: IntArray) -> LogBatch:
    """What was found in the records at ``rows`` of a batch, by the rows of that."""
    places: list[int] = rows.tolist()
    return LogBatch(
        rows=rows[found.rows],
        offsets=found.offsets,
        keys=found.keys,
        times_ms=found.times_ms,
        severities=found.severities,
        lines=found.lines,
        parts=found.parts,
        traces=found.traces,
        rejects=[reject._replace(row=places[reject.row]) for reject in found.rejects],
        formats=found.formats,
        lines_cut=found.lines_cut,
        in_pieces=found.in_pieces,
    )


def merged_batches(parts: Sequence[LogBatch]) -> LogBatch:
    """Batches of different records in one, by row; lines of one record keep their order."""
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    places: list[int] = order.tolist()
    keys = [key for part in parts for key in part.keys]
    lines = [line for part in parts for line in part.lines]
    traces: list[str | None] | None = None
    if any(part.traces is not None for part in parts):
        traces = [trace for part in parts for trace in part.traces or [None] * len(part)]
        traces = [traces[place] for place in places]
    formats: Counter[str] = Counter()
    for part in parts:
        formats.update({name: count for name, count in part.formats.items() if count})
    return LogBatch(
        rows=rows[order],
        offsets=np.concatenate([part.offsets for part in parts])[order],
        keys=[keys[place] for place in places],
        times_ms=np.concatenate([part.times_ms for part in parts])[order],
        severities=np.concatenate([part.severities for part in parts])[order],
        lines=[lines[place] for place in places],
        parts=np.concatenate([part.parts for part in parts])[order],
        traces=traces,
        rejects=sorted(reject for part in parts for reject in part.rejects),
        formats=formats,
        lines_cut=sum(part.lines_cut for part in parts),
        in_pieces=any(part.in_pieces for part in parts),
    )
