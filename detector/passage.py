"""What is known of one batch on its way through the rooms."""

from collections.abc import Callable, Sequence

import numpy as np

from detector.batches import (
    STAGES,
    BatchCounts,
    BoolArray,
    Event,
    IntArray,
    RecordBatch,
    Reject,
    SampleBatch,
    ScoreColumns,
    ScoredBatch,
)
from detector.series import NO_SLOT


class StageTimes:
    """Seconds per stage of one batch, from the timer that the pipeline was given."""

    __slots__ = ("_last", "_timer", "seconds")

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._last = timer()
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def end(self, stage: str) -> None:
        """What passed since the last call belongs to ``stage``."""
        moment = self._timer()
        self.seconds[stage] += moment - self._last
        self._last = moment


class Passage:
    """What is known of one batch while it goes through the rooms."""

    __slots__ = ("accepted", "batch", "counts", "events", "label_rejects", "samples", "slots", "stages")

    def __init__(self, batch: RecordBatch, samples: SampleBatch, stages: StageTimes) -> None:
        self.batch = batch
        self.samples = samples
        self.stages = stages
        self.slots: IntArray = np.full(len(samples), NO_SLOT, dtype=np.int64)
        self.accepted: BoolArray = np.zeros(len(samples), dtype=np.bool_)
        self.counts = BatchCounts(records=len(batch))
        self.events: list[Event] = []
        self.label_rejects: list[Reject] = []

    def rejects(self) -> list[Reject]:
        """By row, one per record: what the decoder said comes before what the labels said."""
        first: dict[int, Reject] = {}
        for reject in (*self.samples.rejects, *self.label_rejects):
            first.setdefault(reject.row, reject)
        return [first[row] for row in sorted(first)]


class Trace:
    """Every sample's scores, kept beside the flow when somebody asked for them."""

    def __init__(self, samples: SampleBatch) -> None:
        self._samples = samples
        self._names = [""] * len(samples)
        self._scores = ScoreColumns.empty(len(samples))

    def name(self, start: int, names: Sequence[str]) -> None:
        """Note the series of the samples from ``start`` on; a slot may be another series' after an eviction."""
        self._names[start : start + len(names)] = names

    def score(self, positions: IntArray, scores: ScoreColumns) -> None:
        """Note the scores of the samples at ``positions``."""
        for kept, fresh in zip(self._scores.columns(), scores.columns(), strict=True):
            kept[positions] = fresh

    def scored(self, accepted: BoolArray) -> ScoredBatch:
        """The whole batch, aligned with its samples."""
        samples = self._samples
        return ScoredBatch(samples.rows, self._names, samples.times_ms, samples.values, accepted, self._scores)
