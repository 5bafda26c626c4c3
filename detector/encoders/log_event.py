"""The event of log lines, field by field: the one source of its bytes and of its JSON Schema.

What is the same as in the event of metrics has the same name there (``event.py``). Every field is always present; what
is not known is null.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from detector.batches import EndReason, Severity, TransitionState
from detector.encoders.event import Count, Digest, EventDirection, Identifier, Series, Source, Time, Topology
from detector.log_batches import LogKind

LOG_SCHEMA_VERSION: Final = 1

LogEventType = Literal[
    "detector.log_anomaly.opened.v1", "detector.log_anomaly.updated.v1", "detector.log_anomaly.closed.v1"
]
LogSeverity = Literal["unknown", "debug", "info", "warning", "error", "fatal"]
LogReasonCode = Literal[
    "count_up",
    "count_down",
    "mix",
    "severity",
    "rare",
    "new",
    "share_up",
    "share_down",
    "format_change",
    "combined",
]


class LogWindow(Struct, frozen=True):
    """The stretch that the episode covers so far."""

    start: Annotated[Time, Meta(description="Start of the first anomalous window.")]
    end: Annotated[Time, Meta(description="End of the window of this transition.")]
    windows: Annotated[Count, Meta(description="Windows judged from start to end.")]
    anomalous_windows: Annotated[Count, Meta(description="How many of them were anomalous.")]
    length_s: Annotated[float, Meta(description="Length of one window, in seconds.")]


class LogPeak(Struct, frozen=True):
    """The window with the most evidence so far. Templates, contributions and samples are of this one."""

    score: Annotated[float | None, Meta(description="Its score, 0 to 100.")]
    neg_log10_p: Annotated[float | None, Meta(description="Its evidence, -log10 p.")]
    observed: Annotated[Count, Meta(description="Lines of the service in it.")]
    expected: Annotated[float | None, Meta(description="Lines expected.")]
    at: Annotated[Time, Meta(description="Its start.")]


class LeadingTemplate(Struct, frozen=True):
    """The template that the episode is about, in the window with the most evidence."""

    id: Annotated[str, Meta(description="Its id, the same on every worker and after every restart.")]
    text: Annotated[str, Meta(description="Its text; <*> stands for what varies.")]
    first_seen: Annotated[Time, Meta(description="Start of the first window that it was seen in.")]
    total_count: Annotated[Count, Meta(description="Its lines so far.")]
    observed: Annotated[Count, Meta(description="Its lines in the window.")]
    expected: Annotated[float | None, Meta(description="Lines expected.")]
    severity: Annotated[LogSeverity, Meta(description="Severity of its lines.")]
    new: Annotated[bool, Meta(description="Never seen before the window.")]


class ChangedTemplate(Struct, frozen=True):
    """One of the templates that changed the most."""

    id: Annotated[str, Meta(description="Its id.")]
    text: Annotated[str, Meta(description="Its text.")]
    observed: Annotated[Count, Meta(description="Its lines in the window.")]
    expected: Annotated[float | None, Meta(description="Lines expected.")]
    share: Annotated[float | None, Meta(description="Its share of the service's lines in the window.")]
    usual_share: Annotated[float | None, Meta(description="Its usual share.")]
    severity: Annotated[LogSeverity, Meta(description="Severity of its lines.")]
    new: Annotated[bool, Meta(description="Never seen before the window.")]


class Contributions(Struct, frozen=True):
    """Evidence of the window with the most of it, by signal: -log10 p each, 0 where there is nothing to say."""

    count_up: Annotated[float | None, Meta(description="A template, or the service, has more lines than expected.")]
    count_down: Annotated[float | None, Meta(description="It has fewer.")]
    mix: Annotated[float | None, Meta(description="The shares of the templates differ from the usual ones.")]
    severity: Annotated[float | None, Meta(description="More lines than usual are of a bad class.")]
    rare: Annotated[float | None, Meta(description="Templates that are hardly ever seen.")]
    new: Annotated[float | None, Meta(description="More new templates than expected.")]
    share_up: Annotated[float | None, Meta(description="A template has a larger share of the lines than usual.")]
    share_down: Annotated[float | None, Meta(description="It has a smaller one.")]
    format_change: Annotated[float | None, Meta(description="Many templates are new where many have vanished.")]
    combined: Annotated[float | None, Meta(description="All of them together.")]


class Changes(Struct, frozen=True):
    """How many templates came and went in the window with the most evidence."""

    new_templates: Annotated[Count, Meta(description="Templates never seen before.")]
    vanished_templates: Annotated[Count, Meta(description="Templates that come regularly, and did not.")]


class SeverityLines(Struct, frozen=True):
    """Lines of one severity class in the window with the most evidence."""

    severity: Annotated[LogSeverity, Meta(description="The class.")]
    observed: Annotated[Count, Meta(description="Its lines.")]
    usual: Annotated[float | None, Meta(description="Its usual part of so many lines.")]


class Sample(Struct, frozen=True):
    """One line, with what looks like a secret replaced."""

    line: Annotated[str, Meta(description="The line.")]
    time: Annotated[Time, Meta(description="Its time.")]
    severity: Annotated[LogSeverity, Meta(description="Its severity.")]
    offset: Annotated[Count, Meta(description="Offset of its record in the input partition.")]
    trace_id: Annotated[str | None, Meta(description="Its trace id, if it has one.")]
    template_id: Annotated[str | None, Meta(description="Id of its template, if that is listed.")]


class Histogram(Struct, frozen=True):
    """Lines per window, the last one last."""

    end: Annotated[Time, Meta(description="End of the last window.")]
    service: Annotated[list[int], Meta(description="Lines of the service.")]
    template: Annotated[list[int] | None, Meta(description="Lines of the leading template, if there is one.")]


class LogReason(Struct, frozen=True):
    """One reason for the episode and its share."""

    code: Annotated[LogReasonCode, Meta(description="The signal.")]
    weight: Annotated[float, Meta(description="Its share; the weights of an event sum to 1.", ge=0, le=1)]
    text: Annotated[str, Meta(description="The reason with its numbers, for people.")]


class LogEvidence(Struct, frozen=True):
    """What the window of this transition says."""

    neg_log10_p: Annotated[float | None, Meta(description="-log10 p by the rule that the episode opened by.")]
    combined: Annotated[float | None, Meta(description="-log10 p of all signals together.")]
    fault_score: Annotated[
        float | None, Meta(description="Sum of the signals that tell a fault from a busy hour, up to 8 each.")
    ]
    windows_seen: Annotated[Count, Meta(description="Windows that the service had been learnt from.")]


class LogModel(Struct, frozen=True):
    """What scored the window."""

    name: Annotated[str, Meta(description="Name of the model.")]
    version: Annotated[int, Meta(description="Version of its algorithm.")]
    config_hash: Annotated[str, Meta(description="Digest of the settings in force.")]


class LogQuality(Struct, frozen=True):
    """What to keep in mind when acting on the event."""

    warm_up: Annotated[bool, Meta(description="The service is too young to be judged by this window.")]
    late: Annotated[
        bool, Meta(description="The record reached the broker more than two windows after the transition's time.")
    ]
    interim: Annotated[bool, Meta(description="The episode goes on, so its numbers may change.")]


class LogAnomaly(Struct, frozen=True):
    """One transition of one episode of log lines."""

    schema_version: Annotated[Literal[1], Meta(description="Version of this schema.")]
    state: Annotated[TransitionState, Meta(description="What happened: opened, updated or closed.")]
    kind: Annotated[LogKind, Meta(description="Kind of anomaly. A service has at most one open episode of a kind.")]
    summary: Annotated[str, Meta(description="The event as one English sentence.", min_length=1)]
    fingerprint: Annotated[
        Digest, Meta(description="Digest of series and kind; the same for every episode of this kind on this series.")
    ]
    episode_id: Annotated[Identifier, Meta(description="Identifies the episode in all its events.")]
    dedupe_key: Annotated[str, Meta(description="The episode's key for pagers: the same in all its events.")]
    sequence: Annotated[int, Meta(description="Position of this event within its episode; 1 is the opening.", ge=1)]
    series: Annotated[Series, Meta(description="The service whose lines these are.")]
    topology: Annotated[Topology, Meta(description="Where it belongs.")]
    window: Annotated[LogWindow, Meta(description="The stretch that the episode covers so far.")]
    started_at: Annotated[Time, Meta(description="Start of the first anomalous window.")]
    detected_at: Annotated[Time, Meta(description="End of the window with which the episode opened.")]
    ended_at: Annotated[Time | None, Meta(description="Once closed, end of the last anomalous window.")]
    end_reason: Annotated[
        EndReason | None,
        Meta(
            description="Why it closed: recovered, when nothing stands out any more; accepted, when it has become the "
            "new normal; superseded, when it was the beginning of a change of wording; silent, when the service sends "
            "nothing any more; expired, when it was forgotten for that; evicted, when it was to make room for others."
        ),
    ]
    score: Annotated[
        float | None, Meta(description="Score of the window of this transition, 0 to 100; 50 stands for p = 1e-6.")
    ]
    severity: Annotated[
        Severity, Meta(description="Severity by what the lines say of themselves and by the evidence so far.")
    ]
    direction: Annotated[
        EventDirection | None, Meta(description="Down where lines are missing, up where they are too many; else none.")
    ]
    observed: Annotated[
        int | None, Meta(description="Lines of the service in the window of this transition; null where there is none.")
    ]
    expected: Annotated[float | None, Meta(description="Lines expected.")]
    template: Annotated[LeadingTemplate | None, Meta(description="The template that the episode is about.")]
    contributions: Annotated[Contributions, Meta(description="Evidence by signal.")]
    peak: Annotated[LogPeak, Meta(description="The window with the most evidence.")]
    changes: Annotated[Changes, Meta(description="How many templates came and went.")]
    templates: Annotated[
        list[ChangedTemplate],
        Meta(description="Templates that changed the most, the leading one first.", max_length=10),
    ]
    severities: Annotated[list[SeverityLines], Meta(description="Lines by severity.")]
    samples: Annotated[list[Sample], Meta(description="A few lines, with what looks like a secret replaced.")]
    histogram: Annotated[Histogram, Meta(description="Lines of the last 30 windows.")]
    reasons: Annotated[list[LogReason], Meta(description="Why this is an episode, the heaviest first.", min_length=1)]
    evidence: Annotated[LogEvidence, Meta(description="What the window of this transition says.")]
    model: Annotated[LogModel, Meta(description="What scored the window.")]
    quality: Annotated[LogQuality, Meta(description="What to keep in mind.")]
    policy: Annotated[str, Meta(description="Name of the policy that judged the service.")]
    provenance: Annotated[
        Source, Meta(description="The record with which the window was over; of another service mostly.")
    ]


class LogAnomalyEvent(Struct, frozen=True):
    """A transition of an episode of log lines as a CloudEvents 1.0 event in structured mode."""

    specversion: Annotated[Literal["1.0"], Meta(description="Version of CloudEvents.")]
    id: Annotated[Identifier, Meta(description="The same for the same transition, however often it is delivered.")]
    source: Annotated[str, Meta(description="The detector that sent it.", min_length=1)]
    type: Annotated[LogEventType, Meta(description="What happened.")]
    subject: Annotated[str, Meta(description="series/ and the series' fingerprint.", pattern="^series/[0-9a-f]{16}$")]
    time: Annotated[Time, Meta(description="Event time of the transition.")]
    datacontenttype: Annotated[Literal["application/json"], Meta(description="Media type of data.")]
    dataschema: Annotated[str, Meta(description="URI of the schema of data.", min_length=1)]
    partitionkey: Annotated[Digest, Meta(description="Fingerprint of the series; also the Kafka key.")]
    sequence: Annotated[str, Meta(description="The sequence of data in eight digits, to sort.", pattern=r"^\d{8,}$")]
    severitytext: Annotated[Literal["WARN", "ERROR", "FATAL"], Meta(description="Severity in OpenTelemetry's words.")]
    severitynumber: Annotated[Literal[13, 17, 21], Meta(description="Severity in OpenTelemetry's numbers.")]
    data: Annotated[LogAnomaly, Meta(description="The transition.")]


def log_event_bytes(event: LogAnomalyEvent) -> bytes:
    """The event as JSON; numbers keep every digit, and NaN or an infinity becomes null."""
    return _ENCODER.encode(event)


_ENCODER: Final = msgspec.json.Encoder()
