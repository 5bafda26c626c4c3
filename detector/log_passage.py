"""What is known of one batch of a log topic on its way through the rooms."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from detector.batches import TIMESTAMP_UNKNOWN, BatchCounts, Event, IntArray, LogCounts, RecordBatch, Reject
from detector.encoders import Provenance
from detector.log_batches import CONTINUES, ENDS_TRACEBACK, LogBatch
from detector.passage import StageTimes
from detector.templates import MinerCounts


class LogPassage:
    """What is known of one batch while it goes through the rooms."""

    __slots__ = ("batch", "counts", "events", "join_rejects", "lines", "logs", "stages")

    def __init__(self, batch: RecordBatch, lines: LogBatch, stages: StageTimes) -> None:
        self.batch = batch
        self.lines = lines
        self.stages = stages
        self.counts = BatchCounts(records=len(batch))
        self.logs = LogCounts()
        self.events: list[Event] = []
        self.join_rejects: list[Reject] = []

    def cause(self, position: int) -> Provenance:
        """The record of the line at ``position``, which a decoder has just given."""
        row = int(self.lines.rows[position])
        stamp_ms = int(self.batch.timestamps_ms[row])
        return Provenance(self.batch.topic, self.batch.partition, int(self.batch.offsets[row]), stamp_ms)

    def add(self, before: MinerCounts, after: MinerCounts) -> None:
        """Count what a miner has done between these."""
        logs = self.logs
        logs.lines_other += after.other - before.other
        logs.lines_cut += after.cut - before.cut
        logs.templates_created += after.created - before.created
        logs.templates_merged += after.merged - before.merged
        logs.templates_evicted += after.evicted - before.evicted

    def seen(self, service: str) -> None:
        """Note a service that had lines in a window that closed."""
        if self.logs.active is None:
            self.logs.active = set()
        self.logs.active.add(service)

    def rejects(self) -> list[Reject]:
        """By row, one per record: what the decoder said comes before what the joiner said."""
        first: dict[int, Reject] = {}
        for reject in (*self.lines.rejects, *self.join_rejects):
            first.setdefault(reject.row, reject)
        return [first[row] for row in sorted(first)]


def by_service(slots: IntArray, own: IntArray) -> Iterator[tuple[int, IntArray]]:
    """The positions ``own``, ascending, of each service."""
    if not len(own):
        return
    found = slots[own]
    if bool((found == found[0]).all()):
        yield int(found[0]), own
        return
    by_service = own[np.argsort(found, kind="stable")]
    edges = np.flatnonzero(np.diff(slots[by_service])) + 1
    for part in np.split(by_service, edges):
        yield int(slots[part[0]]), part


def own_times(lines: LogBatch, stamps_ms: IntArray) -> IntArray:
    """Event times as far as lines tell them, else ``TIMESTAMP_UNKNOWN``; ``stamps_ms`` are the broker's, by record.

    A line that may go on with another and has only its broker's timestamp has that one's, whatever stands beside it:
    where records are sent again later it says nothing of the event, and must not move the watermark.
    """
    goes_on = (lines.parts == CONTINUES) | (lines.parts == ENDS_TRACEBACK)
    if not goes_on.any():
        return lines.times_ms
    return np.where(goes_on & (lines.times_ms == stamps_ms[lines.rows]), TIMESTAMP_UNKNOWN, lines.times_ms)


def no_later(lines: LogBatch, newest_ms: IntArray) -> LogBatch:
    """The lines, each at most of the time beside it: what goes on with nothing is of no time that nobody has told."""
    return replace(lines, times_ms=np.minimum(lines.times_ms, newest_ms))


def part_of(lines: LogBatch, start: int, stop: int) -> LogBatch:
    """The lines ``start`` to before ``stop``; rejects and formats stay with the whole."""
    part = slice(start, stop)
    return LogBatch(
        rows=lines.rows[part],
        offsets=lines.offsets[part],
        keys=lines.keys[part],
        times_ms=lines.times_ms[part],
        severities=lines.severities[part],
        lines=lines.lines[part],
        parts=lines.parts[part],
        traces=None if lines.traces is None else lines.traces[part],
        rejects=(),
    )
