"""Transitions of log lines as CloudEvents 1.0 in structured JSON mode: the envelope is that of ``cloudevents.py``.

The types differ from those of metrics, because a type tells a consumer which schema its data has.
"""

import math
from typing import Final

from detector.batches import TIMESTAMP_UNKNOWN, Event, SeriesIdentity
from detector.encoders.cloudevents import (
    LATE_INTERVALS,
    SEVERITIES,
    CloudEventsEncoder,
    checked_source,
    episode_fingerprint,
    episode_id,
    event_id,
)
from detector.encoders.encoder import LogModelFacts, Provenance
from detector.encoders.event import EventDirection, Series, Source
from detector.encoders.log_event import (
    ChangedTemplate,
    Changes,
    Contributions,
    Histogram,
    LeadingTemplate,
    LogAnomaly,
    LogAnomalyEvent,
    LogEventType,
    LogEvidence,
    LogModel,
    LogPeak,
    LogQuality,
    LogSeverity,
    LogWindow,
    Sample,
    SeverityLines,
    log_event_bytes,
)
from detector.encoders.log_wording import cut, log_reasons_for, score_of, summarise_log
from detector.encoders.topology import topology_of
from detector.encoders.wording import rfc3339
from detector.log_batches import LogKind, LogTemplate, LogTransition

LOG_SCHEMA_URI: Final = "urn:detector:schemas:log_anomaly.v1"
LOG_DATA_SCHEMA_URI: Final = f"{LOG_SCHEMA_URI}#/$defs/LogAnomaly"

LOG_TYPES: Final[dict[str, LogEventType]] = {
    "opened": "detector.log_anomaly.opened.v1",
    "updated": "detector.log_anomaly.updated.v1",
    "closed": "detector.log_anomaly.closed.v1",
}
DIRECTIONS: Final[dict[LogKind, EventDirection]] = {
    "log.new_template": "up",
    "log.severity_surge": "up",
    "log.surge": "up",
    "log.vanished": "down",
}

TEMPLATES_MAX: Final = 10
TEXT_CHARS_MAX: Final = 4_096
"""Of a template or a line; with ten templates and ten lines an event stays below a tenth of what brokers take."""

CLASSES: Final[tuple[LogSeverity, ...]] = ("unknown", "debug", "info", "warning", "error", "fatal")


class LogCloudEventsEncoder:
    """One CloudEvents object per transition; the Kafka key is the fingerprint of the service's series.

    ``source`` is a URI reference that names this detector, such as ``/detector/prod-eu``. Raises ``UsageError`` where
    it is empty or holds white space. What is to be redacted must be so in the transition's texts.
    """

    content_type: str = CloudEventsEncoder.content_type

    def __init__(self, source: str) -> None:
        self._source = checked_source(source)

    def encode(
        self,
        transition: LogTransition,
        identity: SeriesIdentity,
        policy_name: str,
        model: LogModelFacts,
        provenance: Provenance,
    ) -> Event:
        """Encode one transition; equal arguments give equal bytes."""
        severity_text, severity_number = SEVERITIES[transition.severity]
        anomaly = log_anomaly_of(transition, identity, policy_name, model, provenance)
        event = LogAnomalyEvent(
            specversion="1.0",
            id=event_id(transition, identity, provenance),
            source=self._source,
            type=LOG_TYPES[transition.state],
            subject=f"series/{identity.fingerprint}",
            time=rfc3339(transition.time_ms),
            datacontenttype="application/json",
            dataschema=LOG_DATA_SCHEMA_URI,
            partitionkey=identity.fingerprint,
            sequence=f"{transition.sequence:08d}",
            severitytext=severity_text,
            severitynumber=severity_number,
            data=anomaly,
        )
        return Event(identity.fingerprint.encode(), log_event_bytes(event), anomaly.episode_id, transition.state)


def log_anomaly_of(
    transition: LogTransition,
    identity: SeriesIdentity,
    policy_name: str,
    model: LogModelFacts,
    provenance: Provenance,
) -> LogAnomaly:
    """The ``data`` of an event."""
    topology = topology_of(identity.labels)
    fingerprint = episode_fingerprint(identity, transition.kind)
    started_at = rfc3339(transition.started_ms)
    peak, found = transition.peak, transition.findings
    return LogAnomaly(
        schema_version=1,
        state=transition.state,
        kind=transition.kind,
        summary=summarise_log(transition, identity, topology, model.window_length_ms),
        fingerprint=fingerprint,
        episode_id=episode_id(transition, fingerprint, provenance),
        dedupe_key=f"{provenance.topic}/{provenance.partition}/{fingerprint}/{started_at}",
        sequence=transition.sequence,
        series=Series(identity.name, dict(identity.labels), identity.canonical, identity.unit, identity.fingerprint),
        topology=topology,
        window=LogWindow(
            start=started_at,
            end=rfc3339(transition.time_ms),
            windows=transition.windows,
            anomalous_windows=transition.anomalous_windows,
            length_s=model.window_length_ms / 1000.0,
        ),
        started_at=started_at,
        detected_at=rfc3339(transition.detected_ms),
        ended_at=None if transition.ended_ms is None else rfc3339(transition.ended_ms),
        end_reason=transition.end_reason,
        score=score_of(transition.evidence),
        severity=transition.severity,
        direction=DIRECTIONS.get(transition.kind),
        observed=None if found is None else found.lines,
        expected=None if found is None else found.expected_lines,
        template=leading_template_of(transition.templates[0]) if transition.templates else None,
        contributions=Contributions(*peak.signals, peak.combined),
        peak=LogPeak(
            score=score_of(transition.peak_evidence),
            neg_log10_p=transition.peak_evidence,
            observed=peak.lines,
            expected=peak.expected_lines,
            at=rfc3339(transition.peak_ms),
        ),
        changes=Changes(peak.new_templates, peak.vanished_templates),
        templates=[changed_template_of(template) for template in transition.templates[:TEMPLATES_MAX]],
        severities=[
            SeverityLines(severity, observed, usual)
            for severity, observed, usual in zip(CLASSES, peak.severities, peak.usual_severities, strict=True)
        ],
        samples=samples_of(transition),
        histogram=histogram_of(transition, model.window_length_ms),
        reasons=log_reasons_for(transition),
        evidence=LogEvidence(
            neg_log10_p=transition.evidence,
            combined=math.nan if found is None else found.combined,
            fault_score=math.nan if found is None else found.score,
            windows_seen=peak.windows_seen if found is None else found.windows_seen,
        ),
        model=LogModel(model.name, model.version, model.config_hash),
        quality=log_quality_of(transition, model, provenance),
        policy=policy_name,
        provenance=Source(provenance.topic, provenance.partition, provenance.offset),
    )


def leading_template_of(template: LogTemplate) -> LeadingTemplate:
    """What is told of the template that an episode is about."""
    finding = template.finding
    return LeadingTemplate(
        id=template.id,
        text=cut(template.text, TEXT_CHARS_MAX),
        first_seen=rfc3339(finding.first_ms),
        total_count=finding.total,
        observed=finding.observed,
        expected=finding.expected,
        severity=CLASSES[finding.severity],
        new=finding.new,
    )


def changed_template_of(template: LogTemplate) -> ChangedTemplate:
    """What is told of a template among others."""
    finding = template.finding
    return ChangedTemplate(
        id=template.id,
        text=cut(template.text, TEXT_CHARS_MAX),
        observed=finding.observed,
        expected=finding.expected,
        share=finding.share,
        usual_share=finding.usual_share,
        severity=CLASSES[finding.severity],
        new=finding.new,
    )


def samples_of(transition: LogTransition) -> list[Sample]:
    """The lines that the transition shows."""
    ids = {template.finding.number: template.id for template in transition.templates}
    return [
        Sample(
            line=cut(sample.text, TEXT_CHARS_MAX),
            time=rfc3339(sample.time_ms),
            severity=CLASSES[sample.severity],
            offset=sample.offset,
            trace_id=sample.trace,
            template_id=ids.get(sample.number),
        )
        for sample in transition.samples
    ]


def histogram_of(transition: LogTransition, window_length_ms: int) -> Histogram:
    """Lines per window up to this transition's if it lists the leading template, else up to the peak's.

    So the two lists always end with the same window.
    """
    peak, found = transition.peak, transition.findings
    if not transition.templates:
        last = peak if found is None else found
        return Histogram(rfc3339(last.window_ms + window_length_ms), last.recent.tolist(), None)
    lead = transition.templates[0].finding
    if found is not None:
        for finding in found.templates:
            if finding.number == lead.number:
                end = rfc3339(found.window_ms + window_length_ms)
                return Histogram(end, found.recent.tolist(), finding.recent.tolist())
    return Histogram(rfc3339(peak.window_ms + window_length_ms), peak.recent.tolist(), lead.recent.tolist())


def log_quality_of(transition: LogTransition, model: LogModelFacts, provenance: Provenance) -> LogQuality:
    """Flags computed from the numbers at hand; a record without a broker timestamp is never late."""
    known = provenance.record_timestamp_ms != TIMESTAMP_UNKNOWN
    delay_ms = provenance.record_timestamp_ms - transition.time_ms
    return LogQuality(
        warm_up=transition.findings is not None and not transition.findings.ready,
        late=known and delay_ms > LATE_INTERVALS * model.window_length_ms,
        interim=transition.state != "closed",
    )
