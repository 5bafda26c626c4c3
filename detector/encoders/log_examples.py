"""Episodes of log lines, one of each kind, written down: golden files for consumers and for tests."""

from dataclasses import replace
from typing import Final

import numpy as np

from detector.batches import SeriesIdentity
from detector.encoders.encoder import LogModelFacts, Provenance
from detector.encoders.examples import MINUTE_MS, STARTED_MS, pretty
from detector.encoders.log_cloudevents import LogCloudEventsEncoder
from detector.log_batches import (
    RECENT_WINDOWS,
    LogSample,
    LogTemplate,
    LogTransition,
    TemplateFinding,
    WindowFindings,
)

LOG_IDENTITY: Final = SeriesIdentity(
    name="logs",
    labels={"deployment.environment.name": "prod", "k8s.namespace.name": "shop", "service.name": "checkout"},
    canonical='logs{deployment.environment.name="prod",k8s.namespace.name="shop",service.name="checkout"}',
    fingerprint="8f05e7c6e22d6a70",
)
LOG_MODEL: Final = LogModelFacts("log_signals", 2, MINUTE_MS, "3f2a90c1")
TRACE: Final = "5b8efff798038103d269b633813fc60c"


def _recent(*last: int, before: int = 0) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    recent = np.full(RECENT_WINDOWS, before, np.uint32)
    recent[-len(last) :] = last
    return recent


EXHAUSTED: Final = LogTemplate(
    "8d1f0a6e2b94c753",
    "connection pool exhausted after <*> ms, <*> waiting",
    TemplateFinding(
        number=41,
        observed=42,
        expected=0.0,
        up=0.0,
        down=0.0,
        share=0.17,
        usual_share=0.0,
        new=True,
        severity=4,
        total=42,
        first_ms=STARTED_MS,
        recent=_recent(42),
    ),
)
PLACED: Final = LogTemplate(
    "27c4b1e05f3d8a96",
    "order <*> placed by <*> in <*> ms",
    TemplateFinding(
        number=3,
        observed=61,
        expected=118.5,
        up=0.0,
        down=5.75,
        share=0.25,
        usual_share=0.48,
        new=False,
        severity=2,
        total=5_120_377,
        first_ms=STARTED_MS - 43_200 * MINUTE_MS,
        recent=_recent(121, 117, 61, before=119),
    ),
)
FINDINGS: Final = WindowFindings(
    slot=0,
    window_ms=STARTED_MS,
    windows_seen=43_200,
    ready=True,
    lines=247,
    expected_lines=246.5,
    signals=(0.0, 5.75, 7.5, 31.25, 4.5, 24.0, 0.0, 4.25, 0.0),
    combined=30.5,
    score=28.25,
    severities=(0, 0, 203, 2, 42, 0),
    usual_severities=(0.0, 0.0, 243.75, 2.5, 0.75, 0.0),
    new_templates=1,
    vanished_templates=0,
    templates=(EXHAUSTED.finding, PLACED.finding),
    recent=_recent(252, 244, 247, before=246),
)
SAMPLES: Final = (
    LogSample(9_918_104, STARTED_MS + 1_204, 4, 41, TRACE, "connection pool exhausted after 3000 ms, 17 waiting"),
    LogSample(9_918_131, STARTED_MS + 9_870, 4, 41, None, "connection pool exhausted after 3001 ms, 18 waiting"),
    LogSample(9_918_140, STARTED_MS + 12_003, 2, 3, None, "order 88213 placed by <email> in 4120 ms"),
)

LOG_OPENED: Final = LogTransition(
    row=0,
    slot=0,
    policy=0,
    state="opened",
    kind="log.new_template",
    sequence=1,
    episode_number=1,
    time_ms=STARTED_MS + MINUTE_MS,
    started_ms=STARTED_MS,
    detected_ms=STARTED_MS + MINUTE_MS,
    ended_ms=None,
    windows=1,
    anomalous_windows=1,
    evidence=24.0,
    peak_evidence=24.0,
    peak_ms=STARTED_MS,
    severity="error",
    end_reason=None,
    findings=FINDINGS,
    peak=FINDINGS,
    templates=(EXHAUSTED, PLACED),
    samples=SAMPLES,
)
LATER: Final = replace(
    FINDINGS,
    window_ms=STARTED_MS + 5 * MINUTE_MS,
    windows_seen=43_205,
    lines=231,
    signals=(9.5, 6.0, 8.25, 30.0, 0.0, 0.0, 8.0, 4.5, 0.0),
    combined=29.25,
    score=28.5,
    new_templates=0,
    templates=(EXHAUSTED.finding._replace(observed=51, new=False, total=260, recent=_recent(42, 40, 44, 39, 44, 51)),),
)
LOG_UPDATED: Final = replace(
    LOG_OPENED,
    state="updated",
    sequence=2,
    time_ms=STARTED_MS + 6 * MINUTE_MS,
    windows=6,
    anomalous_windows=6,
    evidence=0.0,
    findings=LATER,
)
CALM: Final = replace(
    FINDINGS,
    window_ms=STARTED_MS + 11 * MINUTE_MS,
    windows_seen=43_211,
    lines=249,
    signals=(0.0,) * 9,
    combined=0.0,
    score=0.0,
    severities=(0, 0, 246, 2, 1, 0),
    new_templates=0,
    templates=(),
)
LOG_CLOSED: Final = replace(
    LOG_UPDATED,
    state="closed",
    sequence=3,
    time_ms=STARTED_MS + 12 * MINUTE_MS,
    ended_ms=STARTED_MS + 9 * MINUTE_MS,
    windows=12,
    anomalous_windows=9,
    end_reason="recovered",
    findings=CALM,
)


def _alone(found: WindowFindings, template: LogTemplate, **changes: object) -> LogTransition:
    """An opening with this window and one template."""
    found = replace(found, templates=(template.finding,))
    shown = replace(LOG_OPENED, findings=found, peak=found, templates=(template,), samples=())
    return replace(shown, **changes)  # type: ignore[arg-type] # the field names are checked when this module is read


GONE: Final = PLACED._replace(
    finding=PLACED.finding._replace(observed=0, down=38.5, share=0.0, recent=_recent(121, 117, 0, before=119))
)
LOUD: Final = PLACED._replace(
    finding=PLACED.finding._replace(
        observed=1_204, up=88.0, down=0.0, share=0.9, recent=_recent(121, 117, 1_204, before=119)
    )
)
REWORDED: Final = LogTemplate(
    "e4470c9d15b3a2f8",
    "order placed id=<*> user=<*> took_ms=<*>",
    EXHAUSTED.finding._replace(number=57, observed=120, severity=2, share=0.49, total=120, recent=_recent(120)),
)
CALM_SIGNALS: Final = replace(FINDINGS, severities=CALM.severities, new_templates=0)
LOG_VANISHED: Final = _alone(
    replace(
        CALM_SIGNALS,
        lines=128,
        signals=(0.0, 38.5, 30.25, 0.0, 0.0, 0.0, 0.0, 33.0, 0.0),
        combined=37.75,
        vanished_templates=1,
        recent=_recent(252, 244, 128, before=246),
    ),
    GONE,
    kind="log.vanished",
    evidence=38.5,
    peak_evidence=38.5,
)
LOG_SURGE: Final = _alone(
    replace(
        CALM_SIGNALS,
        lines=1_333,
        signals=(88.0, 0.0, 61.5, 0.0, 0.0, 0.0, 70.0, 0.0, 0.0),
        combined=87.25,
        recent=_recent(252, 244, 1_333, before=246),
    ),
    LOUD,
    kind="log.surge",
    evidence=88.0,
    peak_evidence=88.0,
    severity="warning",
)
LOG_FORMAT: Final = _alone(
    replace(
        CALM_SIGNALS,
        signals=(0.0, 44.0, 120.5, 0.0, 12.0, 80.0, 33.0, 33.0, 96.5),
        combined=119.75,
        new_templates=38,
        vanished_templates=37,
    ),
    REWORDED,
    kind="log.format_change",
    evidence=120.5,
    peak_evidence=120.5,
    severity="warning",
)
LOG_SEVERITY: Final = _alone(
    replace(FINDINGS, signals=(0.0, 0.0, 2.5, 31.25, 0.0, 0.0, 0.0, 0.0, 0.0), new_templates=0),
    EXHAUSTED._replace(
        finding=EXHAUSTED.finding._replace(expected=0.5, up=30.0, usual_share=0.002, new=False, total=3_921)
    ),
    kind="log.severity_surge",
    evidence=31.25,
    peak_evidence=31.25,
    severity="critical",
)
LOG_MIX: Final = _alone(
    replace(CALM_SIGNALS, signals=(0.0, 5.75, 9.5, 0.0, 0.0, 0.0, 0.0, 4.25, 0.0), combined=8.75),
    PLACED,
    kind="log.mix_shift",
    evidence=9.5,
    peak_evidence=9.5,
    severity="warning",
)

LOG_EPISODES: Final[dict[str, LogTransition]] = {
    "opened": LOG_OPENED,
    "updated": LOG_UPDATED,
    "closed": LOG_CLOSED,
    "format_change": LOG_FORMAT,
    "severity_surge": LOG_SEVERITY,
    "surge": LOG_SURGE,
    "vanished": LOG_VANISHED,
    "mix_shift": LOG_MIX,
}


def log_example_texts() -> dict[str, str]:
    """File name to JSON text: the life of an episode, and an opening of every other kind."""
    encoder = LogCloudEventsEncoder("/detector/prod-eu")
    texts: dict[str, str] = {}
    for name, transition in LOG_EPISODES.items():
        minute = (transition.time_ms - STARTED_MS) // MINUTE_MS
        provenance = Provenance("logs", 3, 9_918_000 + 250 * minute, transition.time_ms + 1_204)
        event = encoder.encode(transition, LOG_IDENTITY, "default", LOG_MODEL, provenance)
        texts[f"log_anomaly.{name}.json"] = pretty(event.value)
    return texts
