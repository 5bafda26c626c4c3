"""The columns and rows that travel between rooms on the way of log lines.

A record batch becomes a :class:`LogBatch` in the decoder; the miner gives each line the number of its template; every
closed window of a service gives :class:`WindowFindings`, which the judge turns into a few :class:`LogTransition` rows.
Nothing here has behaviour beyond asserting its own shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.batches import EndReason, IntArray, Reject, SeriesKey, Severity, TransitionState

SeverityArray = NDArray[np.int8]

SEVERITY_CLASSES: Final = ("unknown", "debug", "info", "warning", "error", "fatal")
"""Classes of a line's severity by their number. OpenTelemetry's 1-8 are debug, 9-12 info, 13-16 warning, 17-20 error,
21-24 fatal; unknown where a record says nothing, and then the template's words decide."""

WHOLE: Final = 0
CONTINUES: Final = 1
PARTIAL: Final = 2
BEGINS: Final = 3
ENDS_TRACEBACK: Final = 4
"""How a line stands to its neighbours of the same key: whole; it goes on with the one before (a line of a stack trace
that came as a record of its own); the next one goes on with it (a partial line of the Kubernetes CRI); whole, but of a
format in which the next may go on with it; an exception's class, which goes on with a record that has begun a traceback
of Python and is whole otherwise. Behind the joiner all lines are whole."""

RECENT_WINDOWS: Final = 30
"""Windows of history that an event shows."""


@dataclass(frozen=True, slots=True)
class LogBatch:
    """What a log decoder makes of a record batch: m lines, in the order of their records.

    ``rows`` int64[m], ascending: the record of each line, -1 for a line held over from an earlier batch; ``offsets``
    int64[m]; ``keys`` m keys of services (never of pods where the record tells the service); ``times_ms`` int64[m],
    event time in epoch milliseconds; ``severities`` int8[m], places in ``SEVERITY_CLASSES``; ``lines`` m messages as
    they are to be mined (of many lines: their message), without their header; ``parts`` int8[m], from ``WHOLE`` to
    ``ENDS_TRACEBACK``; ``traces`` m trace ids, None where no record of the batch has one. ``formats`` counts records by
    the format that they had; ``lines_cut`` those that were longer than the decoder's limit; ``in_pieces`` whether
    something in the batch made the decoder go record by record. Every record has at least one line or exactly one
    reject.
    """

    rows: IntArray
    offsets: IntArray
    keys: Sequence[SeriesKey]
    times_ms: IntArray
    severities: SeverityArray
    lines: Sequence[bytes]
    parts: SeverityArray
    traces: Sequence[str | None] | None
    rejects: Sequence[Reject]
    formats: Mapping[str, int] = field(default_factory=dict)
    lines_cut: int = 0
    in_pieces: bool = False

    def __post_init__(self) -> None:
        n = len(self.rows)
        assert n == len(self.offsets) == len(self.keys) == len(self.times_ms)
        assert n == len(self.severities) == len(self.lines) == len(self.parts)
        assert self.traces is None or n == len(self.traces)

    def __len__(self) -> int:
        return len(self.rows)


SIGNALS: Final = (
    "count_up",
    "count_down",
    "mix",
    "severity",
    "rare",
    "new",
    "share_up",
    "share_down",
    "format_change",
)
"""What a window of a service is looked at for; each is a -log10 p, calibrated: 0 where nothing can be said."""

Signals = tuple[float, float, float, float, float, float, float, float, float]


class TemplateFinding(NamedTuple):
    """One template in one window of its service; ``number`` 0 stands for lines without a template.

    ``observed`` and ``expected`` lines in the window; ``up`` and ``down`` -log10 p of their number, ``share`` and
    ``usual_share`` of the service's lines; ``new`` where it was first seen in this window; ``severity`` its class.
    ``total`` lines so far, this window's included, ``first_ms`` the start of the first window it was seen in,
    ``recent`` uint32[30]: its lines in the last windows, this one last.
    """

    number: int
    observed: int
    expected: float
    up: float
    down: float
    share: float
    usual_share: float
    new: bool
    severity: int
    total: int
    first_ms: int
    recent: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class WindowFindings:
    """What one closed window of one service says.

    ``window_ms`` its start; ``windows_seen`` those that the service has been learnt from before it; ``ready`` once that
    is enough to judge. ``lines`` and ``expected_lines`` of the service; ``signals`` by ``SIGNALS``; ``combined`` is
    the -log10 p of all of them together, ``score`` the sum of those that tell a fault from a busy hour, each up to 8.
    ``severities`` and ``usual_severities`` lines by ``SEVERITY_CLASSES``, the second as expected for so many lines.
    ``new_templates`` and ``vanished_templates`` count; ``templates`` are the most telling ones, the first the most, at
    most ten, for each signal that stands out at least one. ``recent`` uint32[30]: lines of the last windows.
    """

    slot: int
    window_ms: int
    windows_seen: int
    ready: bool
    lines: int
    expected_lines: float
    signals: Signals
    combined: float
    score: float
    severities: tuple[int, ...]
    usual_severities: tuple[float, ...]
    new_templates: int
    vanished_templates: int
    templates: tuple[TemplateFinding, ...]
    recent: NDArray[np.uint32]


class LogTemplate(NamedTuple):
    """A template as an event shows it: its id (16 hexadecimal digits) and text, and what is known of it."""

    id: str
    text: str
    finding: TemplateFinding


class LogSample(NamedTuple):
    """A line kept to be shown, redacted; ``number`` is that of its template."""

    offset: int
    time_ms: int
    severity: int
    number: int
    trace: str | None
    text: str


LogKind = Literal[
    "log.format_change",
    "log.new_template",
    "log.severity_surge",
    "log.surge",
    "log.vanished",
    "log.mix_shift",
]
LOG_KINDS: Final[tuple[LogKind, ...]] = (
    "log.format_change",
    "log.new_template",
    "log.severity_surge",
    "log.surge",
    "log.vanished",
    "log.mix_shift",
)


@dataclass(frozen=True, slots=True)
class LogTransition:
    """One step in the life of one log episode: the record that closed the window, and what is known then.

    ``row`` the record that made the watermark close the window, ``slot`` the service's, ``policy`` the index of its
    policy. Times are epoch milliseconds of event time: ``time_ms`` the end of the window that this step is about,
    ``started_ms`` the start of the first anomalous window, ``detected_ms`` the end of the one with which it opened,
    ``ended_ms`` the end of the last anomalous one. ``windows`` from start to here, ``anomalous_windows`` of them;
    ``evidence`` -log10 p of this window by the episode's own rule, ``peak_evidence`` the largest so far, of the window
    that began at ``peak_ms``. ``findings`` are those of this window, None where the service was evicted or expired;
    ``peak`` those of the peak's window. ``templates`` and ``samples`` show the peak's window, too.
    """

    row: int
    slot: int
    policy: int
    state: TransitionState
    kind: LogKind
    sequence: int
    episode_number: int
    time_ms: int
    started_ms: int
    detected_ms: int
    ended_ms: int | None
    windows: int
    anomalous_windows: int
    evidence: float
    peak_evidence: float
    peak_ms: int
    severity: Severity
    end_reason: EndReason | None
    findings: WindowFindings | None
    peak: WindowFindings
    templates: tuple[LogTemplate, ...]
    samples: tuple[LogSample, ...]
