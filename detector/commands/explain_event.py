"""The event that is to be explained, as it is told: only the fields that an explanation needs.

Events of older and newer versions are read, too: what they lack is None, and what is not known here is left alone.
"""

import sys
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from detector.commands.report_episodes import epoch_ms
from detector.errors import UsageError

EVENT_BYTES_MAX: Final = 4_194_304
"""An event is some kilobytes; a file beyond this is not one."""
STANDARD_INPUT: Final = "-"


class ToldSeries(Struct, frozen=True):
    """Which series."""

    metric: str
    identity: str
    unit: str | None = None


class ToldWindow(Struct, frozen=True):
    """What the episode covers so far."""

    start: str
    end: str
    points: int = 0
    anomalous_points: int = 0


class ToldPeak(Struct, frozen=True):
    """The worst sample so far."""

    at: str
    score: float | None = None
    deviation: float | None = None
    observed: float | None = None
    expected: float | None = None
    novelty: float | None = None


class ToldSilence(Struct, frozen=True):
    """A silence."""

    length_s: float
    gap_s: float | None = None


class ToldShift(Struct, frozen=True):
    """A new level."""

    before: float | None = None
    after: float | None = None


class ToldStandstill(Struct, frozen=True):
    """A standstill."""

    length_s: float
    usual_s: float
    samples: int


class ToldScatter(Struct, frozen=True):
    """A scatter."""

    ratio: float | None = None
    largest_ratio: float | None = None
    mean_deviation: float | None = None
    lean: float | None = None


class ToldReason(Struct, frozen=True):
    """One reason."""

    code: str
    weight: float
    text: str


class ToldEvidence(Struct, frozen=True):
    """What the learner saw."""

    recent: list[float | None] = []
    samples_seen: int | None = None


class ToldModel(Struct, frozen=True):
    """What scored it."""

    name: str
    version: int
    config_hash: str
    chosen: str | None = None


class ToldQuality(Struct, frozen=True):
    """What to keep in mind."""

    prior: str | None = None


class ToldSource(Struct, frozen=True):
    """Where the record lies."""

    input_topic: str
    partition: int
    offset: int


class Told(Struct, frozen=True):
    """The ``data`` of an event."""

    state: str
    kind: str
    summary: str
    fingerprint: str
    episode_id: str
    sequence: int
    series: ToldSeries
    window: ToldWindow
    started_at: str
    severity: str
    reasons: list[ToldReason]
    model: ToldModel
    policy: str
    provenance: ToldSource
    evidence: ToldEvidence = ToldEvidence()
    quality: ToldQuality = ToldQuality()
    direction: str | None = None
    end_reason: str | None = None
    score: float | None = None
    deviation: float | None = None
    observed: float | None = None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    peak: ToldPeak | None = None
    silence: ToldSilence | None = None
    shift: ToldShift | None = None
    standstill: ToldStandstill | None = None
    scatter: ToldScatter | None = None
    flapping: bool = False

    @property
    def transition(self) -> tuple[str, str, int, str]:
        """What no two transitions of a partition share: series and kind, start, sequence, state."""
        return self.fingerprint, self.started_at, self.sequence, self.state

    @property
    def time_ms(self) -> int:
        """Event time of the transition in epoch milliseconds."""
        return epoch_ms(self.window.end)


class ToldEvent(Struct, frozen=True):
    """An event."""

    id: str
    data: Told


_DECODER: Final = msgspec.json.Decoder(ToldEvent)


def told(value: bytes) -> ToldEvent:
    """Read one event; raises ``msgspec.DecodeError`` where it is none, or its times are no times."""
    event = _DECODER.decode(value)
    try:
        epoch_ms(event.data.window.end)
        epoch_ms(event.data.started_at)
    except ValueError as error:
        raise msgspec.ValidationError(str(error)) from error
    return event


class Found(NamedTuple):
    """The event that was asked for, and its bytes."""

    event: ToldEvent
    value: bytes


def read_event(argument: str, events: Path | None) -> Found:
    """Read what ``argument`` names: a file, standard input, or an id in the file ``events``; raises ``UsageError``."""
    if events is not None:
        return _find(argument, events)
    if argument == STANDARD_INPUT:
        value, place = sys.stdin.buffer.read(EVENT_BYTES_MAX + 1), "standard input"
    else:
        value, place = _read(Path(argument)), argument
    if len(value) > EVENT_BYTES_MAX:
        raise UsageError(f"{place}: larger than an event can be; give an id, and the file with --events")
    try:
        return Found(told(value), value)
    except msgspec.DecodeError as error:
        lines = sum(1 for line in value.splitlines() if line.strip())
        if lines > 1 and _is_event(next(line for line in value.splitlines() if line.strip())):
            raise UsageError(f"{place}: holds {lines} events; name one by its id, and the file with --events") from None
        raise UsageError(f"{place}: not an event of this detector: {error}") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(EVENT_BYTES_MAX + 1)
    except OSError as error:
        remedy = "" if path.suffix else "; if it is an id, say in which file with --events"
        raise UsageError(f"{path}: cannot be read: {error.strerror}{remedy}") from None


def _find(wanted: str, path: Path) -> Found:
    """Look for the event with this id, or for the first one of the episode with this id."""
    mark = wanted.encode()
    try:
        with path.open("rb") as stream:
            for line in stream:
                if mark in line and _is_event(line):
                    event = told(line)
                    if wanted in {event.id, event.data.episode_id}:
                        return Found(event, line)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    raise UsageError(f"{path}: no event and no episode has the id {wanted}")


def _is_event(line: bytes) -> bool:
    try:
        told(line)
    except msgspec.DecodeError:
        return False
    return True
