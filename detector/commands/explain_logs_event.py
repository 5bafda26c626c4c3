"""The event of log lines that is to be explained, as it is told: only the fields that an explanation needs.

Events of older and newer versions are read, too: what they lack is None or empty, and what is not known here is left
alone.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from detector.commands.explain_event import ToldModel, ToldReason, ToldSeries, ToldSource
from detector.commands.report_episodes import epoch_ms
from detector.errors import UsageError

COMBINED: Final = "combined"
"""Among the contributions, all signals together."""


class LogToldWindow(Struct, frozen=True):
    """What the episode covers so far."""

    start: str
    end: str
    windows: int = 0
    anomalous_windows: int = 0
    length_s: float = 60.0


class LogToldPeak(Struct, frozen=True):
    """The window with the most evidence so far."""

    at: str
    score: float | None = None
    neg_log10_p: float | None = None
    observed: int | None = None
    expected: float | None = None


class LogToldTemplate(Struct, frozen=True):
    """One of the templates that changed the most."""

    id: str
    text: str
    observed: int
    expected: float | None = None
    share: float | None = None
    usual_share: float | None = None
    severity: str = "unknown"
    new: bool = False


class LogToldSeverity(Struct, frozen=True):
    """Lines of one class of severity."""

    severity: str
    observed: int
    usual: float | None = None


class LogToldSample(Struct, frozen=True):
    """One line."""

    line: str
    time: str
    offset: int
    severity: str = "unknown"
    trace_id: str | None = None


class LogToldHistogram(Struct, frozen=True):
    """Lines per window, the last one last."""

    end: str
    service: list[int] = []
    template: list[int] | None = None


class LogToldEvidence(Struct, frozen=True):
    """What the window of the transition says."""

    neg_log10_p: float | None = None
    combined: float | None = None
    fault_score: float | None = None
    windows_seen: int | None = None


class LogToldQuality(Struct, frozen=True):
    """What to keep in mind."""

    warm_up: bool = False


class LogTold(Struct, frozen=True):
    """The ``data`` of an event of log lines."""

    state: str
    kind: str
    summary: str
    fingerprint: str
    sequence: int
    series: ToldSeries
    window: LogToldWindow
    started_at: str
    severity: str
    reasons: list[ToldReason]
    model: ToldModel
    policy: str
    provenance: ToldSource
    peak: LogToldPeak
    histogram: LogToldHistogram
    contributions: dict[str, float | None] = {}
    templates: list[LogToldTemplate] = []
    severities: list[LogToldSeverity] = []
    samples: list[LogToldSample] = []
    evidence: LogToldEvidence = LogToldEvidence()
    quality: LogToldQuality = LogToldQuality()
    end_reason: str | None = None
    score: float | None = None
    observed: int | None = None
    expected: float | None = None

    @property
    def time_ms(self) -> int:
        """Event time of the transition in epoch milliseconds."""
        return epoch_ms(self.window.end)

    @property
    def signals(self) -> list[tuple[str, float]]:
        """Signals with evidence, the most first; all of them together are no signal."""
        told = [(name, value) for name, value in self.contributions.items() if value and name != COMBINED]
        return sorted(told, key=lambda signal: -signal[1])


class LogToldEvent(NamedTuple):
    """An event: as far as it is told, and all of its ``data`` as it was sent."""

    id: str
    data: LogTold
    whole: Mapping[str, Any]

    @property
    def transition(self) -> tuple[str, str, int, str]:
        """What no two transitions of a partition share: series and kind, start, sequence, state."""
        return self.data.fingerprint, self.data.started_at, self.data.sequence, self.data.state


class _Envelope(Struct, frozen=True):
    id: str
    data: LogTold


class _Whole(Struct, frozen=True):
    data: dict[str, Any]


_DECODER: Final = msgspec.json.Decoder(_Envelope)
_WHOLE: Final = msgspec.json.Decoder(_Whole)


def log_told(value: bytes, place: str) -> LogToldEvent:
    """Read one event; raises ``UsageError`` that names its ``place`` where it is none of log lines."""
    try:
        event = _DECODER.decode(value)
        for moment in (event.data.window.start, event.data.window.end, event.data.started_at, event.data.peak.at):
            epoch_ms(moment)
        epoch_ms(event.data.histogram.end)
        return LogToldEvent(event.id, event.data, _WHOLE.decode(value).data)
    except (msgspec.DecodeError, ValueError) as error:
        raise UsageError(f"{place}: not an event of this detector: {error}") from None
