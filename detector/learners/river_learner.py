"""Any river anomaly detector, one object per series, behind the same columns as the compiled learner."""

import math
from collections import deque
from typing import Final, cast

import numpy as np
from river import base

from detector.batches import FloatArray, IntArray, LeftOut, ScoreColumns
from detector.columns import Columns, Deferred, PartialCopy, WholeCopy
from detector.errors import SnapshotRefusedError, UsageError
from detector.learners.calibration import Calibration, stretch
from detector.learners.river_columns import columns_of, objects_of
from detector.learners.river_features import Features, FeatureSet
from detector.learners.river_pickle import dumps, size_of
from detector.learners.river_spec import (
    RiverSpec,
    build_detector,
    build_transformers,
    innermost,
    scores_are_probabilities,
)

WARM_UP_SAMPLES_MIN: Final = 20
"""Ten samples teach the model and ten calibrate it: with fewer, the first deviations would mean nothing."""

_OVERHEAD_BYTES: Final = 1000
"""Guess at one series' objects around a model that cannot be measured."""


class _Series:
    """One series: its model, what it needs to make features, and what its raw scores usually are."""

    __slots__ = ("calibration", "failed", "model", "past", "quiet", "seen", "steps", "taught")

    def __init__(self, spec: RiverSpec, history: int) -> None:
        self.model = build_detector(spec)
        self.steps = build_transformers(spec)
        self.past: deque[float] = deque(maxlen=history)
        self.calibration = Calibration()
        self.seen = 0
        self.taught = 0
        self.quiet = 0
        self.failed = False

    def kept(self) -> tuple[object, ...]:
        """Everything there is of it, for :meth:`become`."""
        counts = (self.seen, self.taught, self.quiet, self.failed)
        return (self.model, self.steps, list(self.past), self.calibration.kept(), counts)

    def become(self, kept: object) -> None:
        """Go on from what :meth:`kept` gave; raises ``SnapshotRefusedError`` for anything that it would not give."""
        match kept:
            case (
                model,
                [*steps],
                [*past],
                (int() as samples, float() as level, float() as spread, float() as peak),
                (int() as seen, int() as taught, int() as quiet, bool() as failed),
            ) if [type(each) for each in (model, *steps)] == [type(each) for each in (self.model, *self.steps)] and all(
                type(each) is float for each in past
            ):
                self.model, self.steps[:] = model, cast("list[base.Transformer]", steps)
                self.past.extend(cast("list[float]", past))
                self.calibration = Calibration.of((samples, level, spread, peak))
                self.seen, self.taught, self.quiet, self.failed = seen, taught, quiet, failed
            case _:
                raise SnapshotRefusedError("the snapshot's objects of river are not those of these settings")


class RiverLearner:
    """One river detector per series, with features from the series' past and a calibrated deviation.

    The raw score is compared with what the model usually answers for this series, because river's scores have no common
    scale (see :mod:`detector.learners.calibration`). A model that raises quarantines its series: NaN from then on,
    counted once. Before its first answer a model may be unable to score, as forecasters are, for at most
    ``spec.quiet_samples_max`` samples. One that has answered exactly 0 so far is taken to be warming up, within the
    same bound.

    There is no band: ``expected``, ``lower``, ``upper`` and ``novelty`` are NaN. Snapshots hold at most
    ``kept_bytes_max`` bytes of models; 0 keeps none. Raises ``UsageError`` for a wrong ``spec``.
    """

    version = 1

    def __init__(self, spec: RiverSpec, *, kept_bytes_max: int = 0) -> None:
        if spec.warm_up_samples < WARM_UP_SAMPLES_MIN or spec.quiet_samples_max < 0:
            raise UsageError(
                f"warm_up_samples must be at least {WARM_UP_SAMPLES_MIN} and quiet_samples_max at least 0",
            )
        self.name = spec.path
        self.warm_up_samples = spec.warm_up_samples
        self._teaching_samples = spec.warm_up_samples // 2
        self._spec = spec
        self._features = FeatureSet(spec.features)
        prototype = _Series(spec, self._features.history)
        self._supervised = isinstance(innermost(prototype.model), base.SupervisedAnomalyDetector)
        if not self._supervised and not spec.features:
            raise UsageError(f"{spec.path} sees nothing but its features, so it needs at least one")
        self._probabilities = scores_are_probabilities(spec, prototype.model)
        self._series: list[_Series | None] = []
        self._live = 0
        self._series_bytes = _measure(prototype)
        self._measured_at = 1
        self._kept_bytes_max = kept_bytes_max
        self._left_out: list[LeftOut] = []
        if kept_bytes_max:
            dumps(prototype.kept())  # compiles the check of what is written, which no batch should wait for

    def reserve(self, capacity: int) -> None:
        """Make room for the slots 0 to ``capacity`` - 1; models are made when their first sample comes."""
        self._series.extend([None] * (capacity - len(self._series)))

    def score(self, slots: IntArray, times_ms: IntArray, values: FloatArray, out: ScoreColumns) -> int:
        """Score, then learn, in row order; returns how many samples met an exception."""
        assert len(slots) == len(times_ms) == len(values) == len(out)
        for column in out.columns():
            column.fill(np.nan)
        failures = 0
        rows = zip(slots.tolist(), times_ms.tolist(), values.tolist(), strict=True)
        for row, (slot, time_ms, value) in enumerate(rows):
            series = self._series_at(slot)
            series.seen += 1
            if series.failed:
                continue
            try:
                deviation = self._take(series, time_ms, value)
            except Exception:  # noqa: BLE001  # a foreign model may raise anything; its series is quarantined, not the batch
                series.failed = True
                failures += 1
                continue
            out.deviation[row] = deviation
            out.score[row] = 100.0 * deviation / (1.0 + deviation)
        return failures

    def reset(self, slots: IntArray) -> None:
        """Drop these slots' models."""
        for slot in slots.tolist():
            if self._series[slot] is not None:
                self._series[slot] = None
                self._live -= 1

    def rebaseline(self, slots: IntArray, times_ms: IntArray, levels: FloatArray) -> None:
        """Forget: a foreign model has no level that could be moved, so it begins anew."""
        assert len(slots) == len(times_ms) == len(levels)
        self.reset(slots)

    def samples_seen(self, slot: int) -> int:
        """How many samples the slot's series has been given since it was new, those in quarantine included."""
        series = self._series[slot]
        return 0 if series is None else series.seen

    def state_bytes(self) -> int:
        """An estimate: the pickled length of one series' objects, measured now and then, times the live series."""
        return self._live * self._series_bytes

    def begin_copy(self, slots: IntArray) -> PartialCopy:
        """All at once: objects change too much for copies in parts."""
        return WholeCopy(self.columns(slots))

    def columns(self, slots: IntArray) -> Deferred:
        """These series' objects as bytes, where the settings want that; nothing otherwise.

        Written at once, since a model changes with the next sample.
        """
        if not self._kept_bytes_max or not len(slots):
            return dict
        series = (self._series[slot] for slot in slots.tolist())
        columns, left_out = columns_of((None if each is None else each.kept() for each in series), self._kept_bytes_max)
        self._left_out += left_out
        return lambda: columns

    def restore(self, slots: IntArray, columns: Columns) -> None:
        """Go on with the objects in ``columns``; series without one begin anew, which is told."""
        objects, left_out = objects_of(columns, len(slots), self._kept_bytes_max)
        self._left_out += left_out
        for slot, kept in zip(slots.tolist(), objects, strict=True):
            if kept is not None:
                self._series_at(slot).become(kept)

    def take_left_out(self) -> list[LeftOut]:
        """Models that snapshots or a restore left out since the last call."""
        left_out, self._left_out = self._left_out, []
        return left_out

    def _series_at(self, slot: int) -> _Series:
        series = self._series[slot]
        if series is None:
            series = _Series(self._spec, self._features.history)
            self._series[slot] = series
            self._live += 1
        elif series.seen >= 2 * self._measured_at:
            self._measured_at = series.seen
            self._series_bytes = _measure(series)
        return series

    def _take(self, series: _Series, time_ms: int, value: float) -> float:
        """Score, then learn, one sample; the deviation, or NaN where there is none yet."""
        features = self._features.of(series.past, time_ms, value)
        series.past.append(value)
        if features is None:
            return math.nan
        raw = self._raw_score(series, features, value)
        for step in series.steps:
            step.learn_one(features)
            features = step.transform_one(features)
        if self._supervised:
            series.model.learn_one(features, value)
        else:
            series.model.learn_one(features)
        series.taught += 1
        return self._judge(series, raw)

    def _raw_score(self, series: _Series, features: Features, value: float) -> float:
        """The model's own answer; NaN while it has never answered and still may be unable to."""
        for step in series.steps:
            features = step.transform_one(features)
        try:
            raw = series.model.score_one(features, value) if self._supervised else series.model.score_one(features)
        except Exception:
            if series.calibration.samples > 0 or series.quiet >= self._spec.quiet_samples_max:
                raise
            return math.nan
        return float(raw)

    def _judge(self, series: _Series, raw: float) -> float:
        """Compare a raw score with the usual ones, then count it among them."""
        if series.taught <= self._teaching_samples:
            return math.nan  # a model's first answers may be wild: some divide by a deviation that is still 0
        calibration = series.calibration
        silent = raw == 0.0 or not math.isfinite(raw)
        if silent and calibration.samples == 0 and series.quiet < self._spec.quiet_samples_max:
            series.quiet += 1
            return math.nan
        if not math.isfinite(raw):
            return math.nan
        scaled = stretch(raw) if self._probabilities else raw
        warm = calibration.samples >= self.warm_up_samples - self._teaching_samples
        deviation = calibration.deviation(scaled) if warm else math.nan
        calibration.learn(scaled)
        return deviation


def _measure(series: _Series) -> int:
    """Bytes of one series' pickled objects: near what they hold, and quick enough to be told now and then."""
    return size_of((series.model, series.steps, series.past)) + _OVERHEAD_BYTES
