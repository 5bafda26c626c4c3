"""Transitions as CloudEvents 1.0 in structured JSON mode.

Structured, because in binary mode an event without data is a tombstone on a compacted topic. The extension attributes
are CloudEvents' own: ``partitionkey``, ``sequence``, ``severitytext`` and ``severitynumber``. Source: CloudEvents 1.0.2
and its documented extensions; OpenTelemetry log data model, severity fields.
"""

import hashlib
import math
import uuid
from typing import Final, Literal

from detector.batches import TIMESTAMP_UNKNOWN, EpisodeKind, Event, SeriesIdentity, Severity, Transition
from detector.encoders.encoder import ModelFacts, Provenance
from detector.encoders.event import (
    Anomaly,
    AnomalyEvent,
    EventType,
    Evidence,
    Impact,
    Model,
    Peak,
    Quality,
    Scatter,
    Series,
    Shift,
    Silence,
    Source,
    Standstill,
    Window,
    to_bytes,
)
from detector.encoders.topology import topology_of
from detector.encoders.wording import direction_of, is_silent, level_before, reasons_for, rfc3339, summarise
from detector.errors import UsageError
from detector.log_batches import LogKind, LogTransition

ANOMALY_SCHEMA_URI: Final = "urn:detector:schemas:anomaly.v1"
"""Identifies the schema file; it is a name, not an address."""

DATA_SCHEMA_URI: Final = f"{ANOMALY_SCHEMA_URI}#/$defs/Anomaly"

ID_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_OID, "detector.anomaly")
"""Of all ids; changing it changes every id ever sent."""

LATE_INTERVALS: Final = 2
"""A record this many usual intervals behind its sample's time is late: one interval is scraping and batching."""

TYPES: Final[dict[str, EventType]] = {
    "opened": "detector.anomaly.opened.v1",
    "updated": "detector.anomaly.updated.v1",
    "closed": "detector.anomaly.closed.v1",
}
SEVERITIES: Final[dict[Severity, tuple[Literal["WARN", "ERROR", "FATAL"], Literal[13, 17, 21]]]] = {
    "warning": ("WARN", 13),
    "error": ("ERROR", 17),
    "critical": ("FATAL", 21),
}


class CloudEventsEncoder:
    """One CloudEvents object per transition; the Kafka key is the series' fingerprint.

    ``source`` is a URI reference that names this detector, such as ``/detector/prod-eu``. Raises ``UsageError`` where
    it is empty or holds white space.
    """

    content_type: str = "application/cloudevents+json; charset=utf-8"

    def __init__(self, source: str) -> None:
        self._source = checked_source(source)

    def encode(
        self,
        transition: Transition,
        identity: SeriesIdentity,
        policy_name: str,
        model: ModelFacts,
        provenance: Provenance,
    ) -> Event:
        """Encode one transition; equal arguments give equal bytes."""
        severity_text, severity_number = SEVERITIES[transition.severity]
        anomaly = anomaly_of(transition, identity, policy_name, model, provenance)
        event = AnomalyEvent(
            specversion="1.0",
            id=event_id(transition, identity, provenance),
            source=self._source,
            type=TYPES[transition.state],
            subject=f"series/{identity.fingerprint}",
            time=rfc3339(transition.time_ms),
            datacontenttype="application/json",
            dataschema=DATA_SCHEMA_URI,
            partitionkey=identity.fingerprint,
            sequence=f"{transition.sequence:08d}",
            severitytext=severity_text,
            severitynumber=severity_number,
            data=anomaly,
        )
        return Event(identity.fingerprint.encode(), to_bytes(event), anomaly.episode_id, transition.state)


def checked_source(source: str) -> str:
    """The URI reference that names this detector; raises ``UsageError`` where it is empty or holds white space."""
    if not source or any(character.isspace() for character in source):
        raise UsageError(f"events need a source without white space, such as /detector/prod, not {source!r}")
    return source


def anomaly_of(
    transition: Transition, identity: SeriesIdentity, policy_name: str, model: ModelFacts, provenance: Provenance
) -> Anomaly:
    """The ``data`` of an event."""
    topology = topology_of(identity.labels)
    fingerprint = episode_fingerprint(identity, transition.kind)
    started_at = rfc3339(transition.started_ms)
    return Anomaly(
        schema_version=1,
        state=transition.state,
        kind=transition.kind,
        summary=summarise(transition, identity, topology),
        fingerprint=fingerprint,
        episode_id=episode_id(transition, fingerprint, provenance),
        dedupe_key=f"{provenance.topic}/{provenance.partition}/{fingerprint}/{started_at}",
        sequence=transition.sequence,
        series=Series(identity.name, dict(identity.labels), identity.canonical, identity.unit, identity.fingerprint),
        topology=topology,
        window=window_of(transition),
        started_at=started_at,
        detected_at=rfc3339(transition.detected_ms),
        ended_at=None if transition.ended_ms is None else rfc3339(transition.ended_ms),
        end_reason=transition.end_reason,
        score=transition.score,
        deviation=transition.deviation,
        severity=transition.severity,
        direction=direction_of(transition),
        observed=transition.observed,
        expected=transition.expected,
        lower=transition.lower,
        upper=transition.upper,
        impact=impact_of(transition),
        peak=None if math.isnan(transition.peak_score) else peak_of(transition),
        silence=silence_of(transition) if is_silent(transition) else None,
        shift=shift_of(transition) if transition.kind == "metric.level_shift" else None,
        standstill=standstill_of(transition) if transition.kind == "metric.stuck" else None,
        scatter=scatter_of(transition) if transition.kind == "metric.variance" else None,
        reasons=reasons_for(transition),
        evidence=Evidence(
            transition.recent_values.tolist(), [transition.lower, transition.upper], transition.samples_seen
        ),
        model=Model(model.name, model.version, model.chosen, model.config_hash),
        quality=quality_of(transition, model, provenance),
        flapping=transition.flapping,
        policy=policy_name,
        provenance=Source(provenance.topic, provenance.partition, provenance.offset),
    )


def event_id(transition: Transition | LogTransition, identity: SeriesIdentity, provenance: Provenance) -> str:
    """The same for the same transition of the same input, whoever computes it.

    A record may hold many points of one series, even several episodes; the start tells those apart.
    """
    parts = (*provenance[:3], identity.fingerprint, transition.kind, transition.started_ms, transition.sequence)
    return uuid_of(*parts)


def episode_id(transition: Transition | LogTransition, fingerprint: str, provenance: Provenance) -> str:
    """The same in all events of an episode."""
    return uuid_of(provenance.topic, provenance.partition, fingerprint, transition.started_ms)


def episode_fingerprint(identity: SeriesIdentity, kind: EpisodeKind | LogKind) -> str:
    """Digest of series and kind, 64 bits in hexadecimal: what a downstream service groups and silences by."""
    return hashlib.blake2b(f"{identity.canonical}\n{kind}".encode(), digest_size=8).hexdigest()


def window_of(transition: Transition) -> Window:
    """The stretch from the first anomalous sample to this transition."""
    return Window(
        start=rfc3339(transition.started_ms),
        end=rfc3339(transition.time_ms),
        points=transition.points,
        anomalous_points=transition.anomalous_points,
        interval_s=transition.interval_ms / 1000.0,
    )


def impact_of(transition: Transition) -> Impact:
    """Signed distance from the expected value; NaN where either is unknown."""
    distance = transition.observed - transition.expected
    return Impact(abs=distance, rel=distance / abs(transition.expected) if transition.expected else math.nan)


def peak_of(transition: Transition) -> Peak:
    """The sample with the largest deviation so far."""
    return Peak(
        score=transition.peak_score,
        deviation=transition.peak_deviation,
        observed=transition.peak_observed,
        expected=transition.peak_expected,
        at=rfc3339(transition.peak_time_ms),
        novelty=transition.peak_novelty,
    )


def silence_of(transition: Transition) -> Silence:
    """From the last sample before the silence to this transition."""
    values = transition.recent_values
    return Silence(
        since=rfc3339(transition.last_sample_ms),
        length_s=(transition.time_ms - transition.last_sample_ms) / 1000.0,
        gap_s=transition.gap_ms / 1000.0,
        last_value=float(values[-1]) if len(values) else math.nan,
    )


def shift_of(transition: Transition) -> Shift:
    """From the level that was expected to the one that is."""
    return Shift(before=level_before(transition), after=transition.new_level)


def standstill_of(transition: Transition) -> Standstill:
    """From the first of the equal samples to this transition."""
    return Standstill(
        since=rfc3339(transition.started_ms),
        length_s=(transition.time_ms - transition.started_ms) / 1000.0,
        usual_s=transition.usual_run_ms / 1000.0,
        samples=transition.points,
    )


def scatter_of(transition: Transition) -> Scatter:
    """How far the values scatter, beside what is usual; a scatter that nobody measured any more is NaN."""
    return Scatter(
        since=rfc3339(transition.started_ms),
        ratio=transition.spread / transition.usual_spread,
        largest_ratio=transition.peak_spread / transition.usual_spread,
        mean_deviation=transition.spread,
        usual_mean_deviation=transition.usual_spread,
        lean=transition.lean,
    )


def quality_of(transition: Transition, model: ModelFacts, provenance: Provenance) -> Quality:
    """Flags computed from the numbers at hand; a record without a broker timestamp is never late."""
    known = provenance.record_timestamp_ms != TIMESTAMP_UNKNOWN and not math.isnan(transition.interval_ms)
    delay_ms = provenance.record_timestamp_ms - transition.time_ms
    return Quality(
        warm_up=math.isnan(transition.score),
        late=known and delay_ms > LATE_INTERVALS * transition.interval_ms,
        interim=transition.state != "closed",
        prior="peers" if model.peers else None,
    )


def uuid_of(*parts: object) -> str:
    """Deterministic id of these parts."""
    return str(uuid.uuid5(ID_NAMESPACE, "\n".join(map(str, parts))))
