"""The columns that travel between rooms.

A batch is a set of equally long columns. Data enters as a :class:`RecordBatch`, becomes a :class:`SampleBatch` in the
decoder, gains slots in the series room and :class:`ScoreColumns` in the learners, and leaves as a few
:class:`Transition` rows and :class:`Event` objects. Nothing here has behaviour beyond asserting its own shape.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, NewType

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

Slot = NewType("Slot", int)
"""Dense index of one series in the state arrays of one partition."""

RejectReason = Literal[
    "invalid_json",
    "malformed",
    "missing_field",
    "wrong_type",
    "not_finite",
    "time_unreadable",
    "too_far_ahead",
    "too_large",
    "too_many_labels",
    "empty",
]
REJECT_REASONS: Final[tuple[RejectReason, ...]] = (
    "invalid_json",
    "malformed",
    "missing_field",
    "wrong_type",
    "not_finite",
    "time_unreadable",
    "too_far_ahead",
    "too_large",
    "too_many_labels",
    "empty",
)

TIMESTAMP_UNKNOWN: Final = -1
"""Broker timestamp of a record that has none (files, brokers older than 0.10)."""

WATERMARK_NONE: Final = -1
"""Watermark of a partition that has accepted nothing."""

SeriesKey = tuple[str, bytes]
"""What a decoder can tell a series by without parsing: (metric name, raw label bytes)."""


class Envelope(NamedTuple):
    """The parts of a record that only a dead letter needs: its key and its headers, byte for byte."""

    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


NO_ENVELOPE: Final = Envelope(None, ())


def no_envelope(_row: int) -> Envelope:
    """Answer for records that have neither key nor headers, such as lines of a file."""
    return NO_ENVELOPE


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Consecutive records of one topic-partition, as they came from the broker.

    ``offsets`` int64[n], strictly increasing (gaps are allowed: compaction and transaction markers leave them);
    ``timestamps_ms`` int64[n], broker timestamps in epoch milliseconds or ``TIMESTAMP_UNKNOWN``; ``values`` n byte
    strings, ``None`` for a tombstone; ``envelope(row)`` fetches key and headers of one row when a dead letter needs
    them.
    """

    topic: str
    partition: int
    offsets: IntArray
    timestamps_ms: IntArray
    values: Sequence[bytes | None]
    envelope: Callable[[int], Envelope] = no_envelope

    def __post_init__(self) -> None:
        assert len(self.offsets) == len(self.timestamps_ms) == len(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, start: int, stop: int) -> "RecordBatch":
        """Give the records ``start`` to before ``stop``."""
        part = slice(start, stop)
        return RecordBatch(
            self.topic,
            self.partition,
            self.offsets[part],
            self.timestamps_ms[part],
            self.values[part],
            lambda row: self.envelope(start + row),
        )


class Reject(NamedTuple):
    """A record that could not be used, wholly or in part. At most one per record: the first fault found."""

    row: int
    offset: int
    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """What a decoder makes of a :class:`RecordBatch`.

    ``rows`` int64[m], ascending: the record each sample came from; ``keys`` m series keys; ``times_ms`` int64[m], event
    time in epoch milliseconds; ``values`` float64[m], finite; ``rejects`` by row, ascending. Every record has at least
    one sample or exactly one reject; an array record with some bad items has both.
    """

    rows: IntArray
    keys: Sequence[SeriesKey]
    times_ms: IntArray
    values: FloatArray
    rejects: Sequence[Reject]
    in_pieces: bool = False

    def __post_init__(self) -> None:
        assert len(self.rows) == len(self.keys) == len(self.times_ms) == len(self.values)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class SeriesIdentity:
    """Which series this is: metric name and labels, parsed once on first sight.

    ``canonical`` is the identity as text with sorted labels, ``fingerprint`` its 64-bit BLAKE2b digest in hex.
    """

    name: str
    labels: Mapping[str, str]
    canonical: str
    fingerprint: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """A learner's answer for m samples; each column float64[m], NaN where the learner has none or is warming up.

    ``score`` 0-100, strictly monotone in the learner's severity; ``deviation`` 1.0 at the edge of the normal band;
    ``novelty`` >= 0, fires once on something never seen; ``expected``, ``lower``, ``upper`` in the unit of the values.
    """

    score: FloatArray
    deviation: FloatArray
    novelty: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray

    def __post_init__(self) -> None:
        n = len(self.score)
        assert n == len(self.deviation) == len(self.novelty) == len(self.expected) == len(self.lower) == len(self.upper)

    def __len__(self) -> int:
        return len(self.score)

    @staticmethod
    def empty(size: int) -> "ScoreColumns":
        """Columns of ``size`` NaNs, to be filled by learners."""
        return ScoreColumns(*(np.full(size, np.nan) for _ in range(6)))

    def columns(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        """The six columns in the order of their declaration."""
        return self.score, self.deviation, self.novelty, self.expected, self.lower, self.upper


TransitionState = Literal["opened", "updated", "closed"]
EpisodeKind = Literal[
    "metric.spike", "metric.dip", "metric.no_data", "metric.level_shift", "metric.stuck", "metric.variance"
]
Severity = Literal["warning", "error", "critical"]
EndReason = Literal["recovered", "silent", "resumed", "expired", "evicted", "accepted", "superseded"]
"""Back inside the band, or moving again; no samples any more; samples again; series forgotten for its silence, or for
want of room; its level or scatter is the new normal; it goes on as an episode of another kind."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One step in the life of one episode: the row that caused it and what is known of the episode then.

    Times are epoch milliseconds of event time. ``recent_values`` float64[k], the newest last, holds the last samples of
    the series, the last one taken at ``last_sample_ms``; ``samples_seen`` counts them all. They include this row's
    sample, except where the step is about silence: what a timer did has no sample behind it, and numbers of the sample
    are NaN; a resumption knows the value that came, and the samples before. ``peak_*`` describe the sample with the
    largest deviation of the episode so far, NaN for kinds that follow no single scores; ``peak_novelty`` is the
    largest novelty, NaN where there is none. ``interval_ms`` is the usual time between samples, ``gap_ms`` the longest
    usual one, ``usual_run_ms`` the longest time for which the value usually stays the same. ``new_level`` is the level
    of a ``metric.level_shift``, NaN elsewhere; ``old_level`` the one before where no episode led to it, NaN where the
    level is told against ``expected``. Of a ``metric.variance``, all in bands, NaN elsewhere: ``spread`` is the recent
    mean deviation, ``lean`` the one with its sign, ``usual_spread`` the usual one when it began, ``peak_spread`` the
    largest.
    """

    row: int
    slot: int
    policy: int
    state: TransitionState
    kind: EpisodeKind
    sequence: int
    episode_number: int
    time_ms: int
    started_ms: int
    detected_ms: int
    ended_ms: int | None
    points: int
    anomalous_points: int
    interval_ms: float
    gap_ms: float
    last_sample_ms: int
    observed: float
    expected: float
    lower: float
    upper: float
    score: float
    deviation: float
    novelty: float
    peak_score: float
    peak_deviation: float
    peak_observed: float
    peak_expected: float
    peak_time_ms: int
    severity: Severity
    flapping: bool
    end_reason: EndReason | None
    recent_values: FloatArray
    samples_seen: int
    peak_novelty: float = math.nan
    new_level: float = math.nan
    old_level: float = math.nan
    usual_run_ms: float = 0.0
    spread: float = math.nan
    lean: float = math.nan
    usual_spread: float = math.nan
    peak_spread: float = math.nan


STAGES: Final = ("decode", "route", "score", "judge", "encode")
"""What a batch goes through, in order; names of the parts of :attr:`Output.stage_seconds`."""


class LeftOut(NamedTuple):
    """Models that a snapshot could not hold, or that a restore could not take out of one; their series begin anew.

    ``reason`` is one of :data:`LEFT_OUT_REASONS`; ``detail`` is for people.
    """

    reason: str
    models: int
    detail: str


LEFT_OUT_REASONS: Final = ("size_limit", "not_picklable", "not_stored", "river_version")


class Event(NamedTuple):
    """An outgoing message: its partition key and its bytes, ready for any sink.

    ``episode`` names the episode that it is about, the same in all of its events (empty: none), and ``state`` what
    happened to that.
    """

    key: bytes
    value: bytes
    episode: str = ""
    state: TransitionState = "opened"


@dataclass(slots=True)
class BatchCounts:
    """What happened to one batch, for telemetry; counted once per batch, never per record."""

    records: int = 0
    samples: int = 0
    scored: int = 0
    late: int = 0
    repeated: int = 0
    series_created: int = 0
    series_evicted: int = 0
    series_expired: int = 0
    aliases_cleared: int = 0
    peer_groups_left_out: int = 0
    learner_failures: int = 0
    opened: int = 0
    updated: int = 0
    closed: int = 0
    decoder_fallbacks: int = 0
    drifts: int = 0


@dataclass(slots=True)
class LogCounts:
    """What happened to the lines of one batch of a log topic, beside :class:`BatchCounts`.

    There, samples are lines, scored are those that were counted in a window, late are those whose window had closed.
    ``formats`` counts records by their format. ``lines_joined`` lines went on with another; ``lines_other`` have no
    template, since training had stopped; ``lines_cut`` were longer than what is looked at; ``lines_released`` came out
    before anything could go on with them, since too many waited. ``caches_cleared`` is 1 where too much was remembered
    for speed. ``tripped`` names the services whose circuit breaker opened. ``templates_held`` and ``breakers_open``
    are how it stands after the batch. ``active`` names the services that had lines in the windows that closed, None
    where none closed; ``keyed`` says whether the last record has a key.
    """

    formats: dict[str, int] = field(default_factory=dict)
    lines_joined: int = 0
    lines_other: int = 0
    lines_cut: int = 0
    lines_released: int = 0
    templates_created: int = 0
    templates_merged: int = 0
    templates_evicted: int = 0
    caches_cleared: int = 0
    windows_closed: int = 0
    windows_skipped: int = 0
    tripped: list[str] = field(default_factory=list)
    templates_held: int = 0
    breakers_open: int = 0
    active: set[str] | None = None
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """Per-sample results, aligned with the samples that were routed: for ``replay --scores`` and the scores topic.

    ``rows`` int64[m] record of each sample; ``series`` m canonical identities, empty where the labels were unusable;
    ``accepted`` bool[m], false for samples that came late or twice and were dropped.
    """

    rows: IntArray
    series: Sequence[str]
    times_ms: IntArray
    values: FloatArray
    accepted: BoolArray
    scores: ScoreColumns


@dataclass(frozen=True, slots=True)
class Output:
    """Everything that one batch produced; ``next_offset`` may be committed once all of it is delivered."""

    events: Sequence[Event]
    rejects: Sequence[Reject]
    next_offset: int
    counts: BatchCounts
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    scored: ScoredBatch | None = None
    logs: LogCounts | None = None
