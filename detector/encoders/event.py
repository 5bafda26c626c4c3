"""The event, field by field: the one source of its bytes and of its JSON Schema.

Every field is always present; what is not known is null. Additions are allowed within a schema version, so consumers
must ignore fields that they do not know; anything else needs a new version.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from detector.batches import EndReason, EpisodeKind, Severity, TransitionState

SCHEMA_VERSION: Final = 1

Time = Annotated[
    str, Meta(extra_json_schema={"format": "date-time"}, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")]
Identifier = Annotated[
    str, Meta(extra_json_schema={"format": "uuid"}, pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
]
Count = Annotated[int, Meta(ge=0)]

EventType = Literal["detector.anomaly.opened.v1", "detector.anomaly.updated.v1", "detector.anomaly.closed.v1"]
EventDirection = Literal["up", "down"]
ReasonCode = Literal[
    "above_band", "below_band", "outside_band", "sustained", "novel", "silent", "settled", "unchanged", "scattered"
]


class Series(Struct, frozen=True):
    """The series that the episode is about."""

    metric: Annotated[str, Meta(description="Name of the metric.")]
    labels: Annotated[dict[str, str], Meta(description="Labels of the series, as first seen.")]
    identity: Annotated[str, Meta(description="Canonical text of name and labels; equal for the same series.")]
    unit: Annotated[str | None, Meta(description="Unit of the values, if the producer told it.")]
    fingerprint: Annotated[Digest, Meta(description="64-bit digest of the identity, in hexadecimal.")]


class Topology(Struct, frozen=True):
    """Where the series belongs, read from well-known label names."""

    service: Annotated[str | None, Meta(description="Service, from labels such as service.name, service, app or job.")]
    namespace: Annotated[str | None, Meta(description="Namespace, from labels such as k8s.namespace.name.")]
    cluster: Annotated[str | None, Meta(description="Cluster, from labels such as k8s.cluster.name.")]
    host: Annotated[str | None, Meta(description="Host or node, from labels such as host.name or instance.")]


class Window(Struct, frozen=True):
    """The stretch of the series that the episode covers so far."""

    start: Annotated[
        Time,
        Meta(
            description="Time of the first anomalous, equal or scattered sample, or of the last one before the silence."
        ),
    ]
    end: Annotated[Time, Meta(description="Time of this transition.")]
    points: Annotated[Count, Meta(description="Scored samples from start to end.")]
    anomalous_points: Annotated[Count, Meta(description="How many of them were anomalous.")]
    interval_s: Annotated[float | None, Meta(description="Usual time between samples, in seconds.")]


class Impact(Struct, frozen=True):
    """How far the sample of this transition is from what was expected."""

    abs: Annotated[float | None, Meta(description="Observed minus expected, in the unit of the series.")]
    rel: Annotated[float | None, Meta(description="The same as a share of the expected value; null where that is 0.")]


class Peak(Struct, frozen=True):
    """The anomalous sample with the largest deviation of the episode so far."""

    score: Annotated[float | None, Meta(description="Its score, 0 to 100.")]
    deviation: Annotated[float | None, Meta(description="Its deviation; 1 is the edge of the normal band.")]
    observed: Annotated[float | None, Meta(description="Its value.")]
    expected: Annotated[float | None, Meta(description="What was expected then.")]
    at: Annotated[Time, Meta(description="Its time.")]
    novelty: Annotated[
        float | None, Meta(description="Largest novelty of the episode so far, on the scale of the learner.")
    ]


class Silence(Struct, frozen=True):
    """For how long the series has sent nothing, or had sent nothing when it began again."""

    since: Annotated[Time, Meta(description="Time of the last sample before the silence.")]
    length_s: Annotated[float, Meta(description="From then to this transition, in seconds.")]
    gap_s: Annotated[float | None, Meta(description="Longest usual time between two samples, in seconds.")]
    last_value: Annotated[float | None, Meta(description="Value of the last sample before the silence.")]


class Shift(Struct, frozen=True):
    """The new level of a series, which is its normal one from here on."""

    before: Annotated[float | None, Meta(description="What the learner expected, or the level before a drift.")]
    after: Annotated[float | None, Meta(description="Recent mean of the values, the new level.")]


class Standstill(Struct, frozen=True):
    """For how long the value of the series has been the same."""

    since: Annotated[Time, Meta(description="Time of the first of the equal samples.")]
    length_s: Annotated[float, Meta(description="From then to this transition, in seconds.")]
    usual_s: Annotated[float, Meta(description="Longest time for which the value usually stays the same, in seconds.")]
    samples: Annotated[Count, Meta(description="Equal samples.")]


class Scatter(Struct, frozen=True):
    """How far the values scatter around what is expected."""

    since: Annotated[Time, Meta(description="Time from which they have.")]
    ratio: Annotated[float | None, Meta(description="Mean deviation of the last samples, in usual ones.")]
    largest_ratio: Annotated[float | None, Meta(description="The largest ratio of the episode so far.")]
    mean_deviation: Annotated[
        float | None, Meta(description="Mean deviation of the last samples; 1 is the edge of the normal band.")
    ]
    usual_mean_deviation: Annotated[
        float | None, Meta(description="Usual mean deviation of the series, when the episode began.")
    ]
    lean: Annotated[
        float | None, Meta(description="Mean deviation with its sign, over twice as many samples; near 0: both sides.")
    ]


class Reason(Struct, frozen=True):
    """One reason for the episode and its share."""

    code: Annotated[ReasonCode, Meta(description="Which reason.")]
    weight: Annotated[float, Meta(description="Its share; the weights of an event sum to 1.", ge=0, le=1)]
    text: Annotated[str, Meta(description="The reason with its numbers, for people.")]


class Evidence(Struct, frozen=True):
    """What the learner saw."""

    recent: Annotated[list[float | None], Meta(description="Last values of the series, the newest last.")]
    band: Annotated[
        list[float | None],
        Meta(description="Lower and upper edge of the normal band then.", min_length=2, max_length=2),
    ]
    samples_seen: Annotated[Count, Meta(description="Samples of this series up to this transition.")]


class Model(Struct, frozen=True):
    """What scored the sample."""

    name: Annotated[str, Meta(description="Name of the learner.")]
    version: Annotated[int, Meta(description="Version of its algorithm.")]
    chosen: Annotated[
        str,
        Meta(
            description="Why this learner: policy, since one names it. Where auto chose it: low_counts; unit, because "
            "that or the name says that these are no counts; default, like neither; not_whole, because what had looked "
            "like counts had a value that is none; warm_up, as long as nothing is chosen. More codes may come."
        ),
    ]
    config_hash: Annotated[str, Meta(description="Digest of the settings in force.")]


class Quality(Struct, frozen=True):
    """What to keep in mind when acting on the event."""

    warm_up: Annotated[bool, Meta(description="The learner had no score for this transition.")]
    late: Annotated[
        bool, Meta(description="The record reached the broker more than two usual intervals after the sample's time.")
    ]
    interim: Annotated[bool, Meta(description="The episode goes on, so its numbers may change.")]
    prior: Annotated[
        Literal["peers"] | None,
        Meta(
            description="peers: the series is new, and what is usual for it is taken from those that differ from it in "
            "nothing but where they come from."
        ),
    ]


class Source(Struct, frozen=True):
    """The input record that caused this transition."""

    input_topic: Annotated[str, Meta(description="Its topic.")]
    partition: Annotated[Count, Meta(description="Its partition.")]
    offset: Annotated[Count, Meta(description="Its offset.")]


class Anomaly(Struct, frozen=True):
    """One transition of one anomaly episode."""

    schema_version: Annotated[Literal[1], Meta(description="Version of this schema.")]
    state: Annotated[TransitionState, Meta(description="What happened: opened, updated or closed.")]
    kind: Annotated[EpisodeKind, Meta(description="Kind of anomaly. A series has at most one open episode of a kind.")]
    summary: Annotated[str, Meta(description="The event as one English sentence.", min_length=1)]
    fingerprint: Annotated[
        Digest, Meta(description="Digest of series and kind; the same for every episode of this kind on this series.")
    ]
    episode_id: Annotated[Identifier, Meta(description="Identifies the episode in all its events.")]
    dedupe_key: Annotated[str, Meta(description="The episode's key for pagers: the same in all its events.")]
    sequence: Annotated[int, Meta(description="Position of this event within its episode; 1 is the opening.", ge=1)]
    series: Annotated[Series, Meta(description="The series.")]
    topology: Annotated[Topology, Meta(description="Where the series belongs.")]
    window: Annotated[Window, Meta(description="The stretch that the episode covers so far.")]
    started_at: Annotated[
        Time,
        Meta(
            description="Time of the first anomalous, equal or scattered sample, or of the last one before the silence."
        ),
    ]
    detected_at: Annotated[
        Time, Meta(description="Time of the sample, or for silence of the watermark, with which the episode opened.")
    ]
    ended_at: Annotated[
        Time | None,
        Meta(
            description="Once closed, time of the last anomalous sample, of the last sample before the series fell "
            "silent, or of the first one after the silence or the standstill."
        ),
    ]
    end_reason: Annotated[
        EndReason | None,
        Meta(
            description="Why it closed: recovered; silent, when the series sends nothing any more; resumed, when it "
            "sends again; expired, when it was forgotten for its silence; evicted, when it was to make room for others;"
            " accepted, when its level or scatter is the new normal; superseded, when it goes on as another kind."
        ),
    ]
    score: Annotated[
        float | None, Meta(description="Score of this sample, 0 to 100; 50 is the edge of the normal band.")
    ]
    deviation: Annotated[float | None, Meta(description="Deviation of this sample; 1 is the edge of the normal band.")]
    severity: Annotated[
        Severity,
        Meta(description="Severity by the score of the peak; of silence, standstill and scatter by the policy."),
    ]
    direction: Annotated[
        EventDirection | None, Meta(description="Up for a spike, down for a dip, either for a new level; else none.")
    ]
    observed: Annotated[float | None, Meta(description="Value of this sample; null where there is none.")]
    expected: Annotated[float | None, Meta(description="What the learner expected.")]
    lower: Annotated[float | None, Meta(description="Lower edge of the normal band.")]
    upper: Annotated[float | None, Meta(description="Upper edge of the normal band.")]
    impact: Annotated[Impact, Meta(description="Distance of this sample from the expected value.")]
    peak: Annotated[Peak | None, Meta(description="The worst sample so far; null where the episode is about no score.")]
    silence: Annotated[Silence | None, Meta(description="The silence, where this transition is about one.")]
    shift: Annotated[Shift | None, Meta(description="The new level, where this is about one.")]
    standstill: Annotated[Standstill | None, Meta(description="The standstill, where this is about one.")]
    scatter: Annotated[Scatter | None, Meta(description="The scatter, where this is about one.")]
    reasons: Annotated[list[Reason], Meta(description="Why this is an episode, the heaviest first.", min_length=1)]
    evidence: Annotated[Evidence, Meta(description="What the learner saw.")]
    model: Annotated[Model, Meta(description="What scored the sample.")]
    quality: Annotated[Quality, Meta(description="What to keep in mind.")]
    flapping: Annotated[bool, Meta(description="The episode swings between normal and anomalous.")]
    policy: Annotated[str, Meta(description="Name of the policy that judged the series.")]
    provenance: Annotated[
        Source, Meta(description="The record that caused this transition; for silence, one of another series mostly.")
    ]


class AnomalyEvent(Struct, frozen=True):
    """A transition of an anomaly episode as a CloudEvents 1.0 event in structured mode."""

    specversion: Annotated[Literal["1.0"], Meta(description="Version of CloudEvents.")]
    id: Annotated[Identifier, Meta(description="The same for the same transition, however often it is delivered.")]
    source: Annotated[str, Meta(description="The detector that sent it.", min_length=1)]
    type: Annotated[EventType, Meta(description="What happened.")]
    subject: Annotated[str, Meta(description="series/ and the series' fingerprint.", pattern="^series/[0-9a-f]{16}$")]
    time: Annotated[Time, Meta(description="Event time of the transition.")]
    datacontenttype: Annotated[Literal["application/json"], Meta(description="Media type of data.")]
    dataschema: Annotated[str, Meta(description="URI of the schema of data.", min_length=1)]
    partitionkey: Annotated[Digest, Meta(description="Fingerprint of the series; also the Kafka key.")]
    sequence: Annotated[str, Meta(description="The sequence of data in eight digits, to sort.", pattern=r"^\d{8,}$")]
    severitytext: Annotated[Literal["WARN", "ERROR", "FATAL"], Meta(description="Severity in OpenTelemetry's words.")]
    severitynumber: Annotated[Literal[13, 17, 21], Meta(description="Severity in OpenTelemetry's numbers.")]
    data: Annotated[Anomaly, Meta(description="The transition.")]


def to_bytes(event: AnomalyEvent) -> bytes:
    """The event as JSON; numbers keep every digit, and NaN or an infinity becomes null."""
    return _ENCODER.encode(event)


_ENCODER: Final = msgspec.json.Encoder()
