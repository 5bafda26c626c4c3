"""One episode and one record of each kind, written down: golden files for consumers and for tests.

The episode is the 95th percentile of a service's request duration, which leaves its band for ten minutes.
"""

from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np

from detector.batches import SeriesIdentity, Transition
from detector.encoders.cloudevents import CloudEventsEncoder
from detector.encoders.encoder import ModelFacts, Provenance

STARTED_MS: Final = 1_795_305_720_000
MINUTE_MS: Final = 60_000

IDENTITY: Final = SeriesIdentity(
    name="http.server.request.duration.p95",
    labels={"deployment.environment.name": "prod", "k8s.namespace.name": "shop", "service.name": "checkout"},
    canonical=(
        'http.server.request.duration.p95{deployment.environment.name="prod",k8s.namespace.name="shop",'
        'service.name="checkout"}'
    ),
    fingerprint="fe4231521265c714",
    unit="s",
)
MODEL: Final = ModelFacts(name="envelope", version=1, chosen="unit", peers=False, config_hash="3f2a90c1")

OPENED: Final = Transition(
    row=0,
    slot=0,
    policy=0,
    state="opened",
    kind="metric.spike",
    sequence=1,
    episode_number=1,
    time_ms=STARTED_MS + 2 * MINUTE_MS,
    started_ms=STARTED_MS,
    detected_ms=STARTED_MS + 2 * MINUTE_MS,
    ended_ms=None,
    points=3,
    anomalous_points=3,
    interval_ms=60_000.0,
    gap_ms=61_000.0,
    last_sample_ms=STARTED_MS + 2 * MINUTE_MS,
    observed=1.84,
    expected=0.31,
    lower=0.18,
    upper=0.8,
    score=75.75757575757575,
    deviation=3.125,
    novelty=float("nan"),
    peak_score=75.75757575757575,
    peak_deviation=3.125,
    peak_observed=1.84,
    peak_expected=0.31,
    peak_time_ms=STARTED_MS + 2 * MINUTE_MS,
    severity="error",
    flapping=False,
    end_reason=None,
    recent_values=np.array([0.3, 0.29, 0.33, 0.3, 0.31, 0.9, 1.4, 1.84]),
    samples_seen=40_321,
)
UPDATED: Final = replace(
    OPENED,
    state="updated",
    sequence=2,
    time_ms=STARTED_MS + 4 * MINUTE_MS,
    last_sample_ms=STARTED_MS + 4 * MINUTE_MS,
    points=5,
    anomalous_points=5,
    observed=5.25,
    score=91.00719424460432,
    deviation=10.12,
    peak_score=91.00719424460432,
    peak_deviation=10.12,
    peak_observed=5.25,
    peak_time_ms=STARTED_MS + 4 * MINUTE_MS,
    severity="critical",
    recent_values=np.array([0.33, 0.3, 0.31, 0.9, 1.4, 1.84, 3.1, 5.25]),
    samples_seen=40_323,
)
CLOSED: Final = replace(
    UPDATED,
    state="closed",
    sequence=3,
    time_ms=STARTED_MS + 18 * MINUTE_MS,
    last_sample_ms=STARTED_MS + 18 * MINUTE_MS,
    ended_ms=STARTED_MS + 9 * MINUTE_MS,
    points=19,
    anomalous_points=10,
    observed=0.33,
    score=3.9215686274509802,
    deviation=0.04081632653061225,
    end_reason="recovered",
    recent_values=np.array([0.9, 0.32, 0.3, 0.31, 0.29, 0.33, 0.3, 0.31, 0.32, 0.33]),
    samples_seen=40_337,
)

NAN: Final = float("nan")
NO_DATA: Final = replace(
    OPENED,
    kind="metric.no_data",
    time_ms=STARTED_MS + 30 * MINUTE_MS,
    started_ms=STARTED_MS + 24 * MINUTE_MS,
    detected_ms=STARTED_MS + 30 * MINUTE_MS,
    last_sample_ms=STARTED_MS + 24 * MINUTE_MS,
    points=0,
    anomalous_points=0,
    observed=NAN,
    expected=NAN,
    lower=NAN,
    upper=NAN,
    score=NAN,
    deviation=NAN,
    peak_score=NAN,
    peak_deviation=NAN,
    peak_observed=NAN,
    peak_expected=NAN,
    peak_time_ms=STARTED_MS + 24 * MINUTE_MS,
    recent_values=np.array([0.3, 0.31, 0.29, 0.33, 0.3, 0.31, 0.32, 0.31]),
    samples_seen=40_343,
)
RESUMED: Final = replace(
    NO_DATA,
    state="closed",
    sequence=2,
    time_ms=STARTED_MS + 49 * MINUTE_MS,
    ended_ms=STARTED_MS + 49 * MINUTE_MS,
    observed=0.3,
    end_reason="resumed",
)

ACCEPTED_MS: Final = STARTED_MS + 482 * MINUTE_MS
SHIFTED: Final = replace(
    OPENED,
    kind="metric.level_shift",
    time_ms=ACCEPTED_MS,
    detected_ms=ACCEPTED_MS,
    last_sample_ms=ACCEPTED_MS,
    points=483,
    anomalous_points=483,
    observed=1.79,
    expected=0.31,
    score=75.12437810945273,
    deviation=3.0204081632653064,
    peak_observed=1.9,
    peak_deviation=3.2448979591836733,
    peak_score=76.44230769230769,
    peak_time_ms=STARTED_MS + 77 * MINUTE_MS,
    recent_values=np.array([1.8, 1.82, 1.77, 1.81, 1.84, 1.8, 1.78, 1.79]),
    samples_seen=40_801,
    new_level=1.8,
)
STUCK: Final = replace(
    NO_DATA,
    kind="metric.stuck",
    severity="warning",
    last_sample_ms=STARTED_MS + 30 * MINUTE_MS,
    started_ms=STARTED_MS,
    points=31,
    anomalous_points=31,
    observed=0.31,
    expected=0.3,
    lower=0.18,
    upper=0.42,
    score=7.6923076923076925,
    deviation=0.08333333333333333,
    recent_values=np.full(8, 0.31),
    usual_run_ms=120_000.0,
)

SCATTERED: Final = replace(
    NO_DATA,
    kind="metric.variance",
    severity="warning",
    last_sample_ms=STARTED_MS + 29 * MINUTE_MS,
    time_ms=STARTED_MS + 29 * MINUTE_MS,
    detected_ms=STARTED_MS + 29 * MINUTE_MS,
    started_ms=STARTED_MS,
    points=30,
    anomalous_points=30,
    observed=0.52,
    expected=0.3,
    lower=0.18,
    upper=0.42,
    score=64.70588235294117,
    deviation=1.8333333333333333,
    recent_values=np.array([0.3, 0.12, 0.44, 0.21, 0.38, 0.16, 0.33, 0.52]),
    spread=0.75,
    lean=0.0625,
    usual_spread=0.25,
    peak_spread=0.75,
)
CALMED: Final = replace(
    SCATTERED,
    state="closed",
    sequence=2,
    time_ms=STARTED_MS + 120 * MINUTE_MS,
    last_sample_ms=STARTED_MS + 120 * MINUTE_MS,
    ended_ms=STARTED_MS + 90 * MINUTE_MS,
    points=121,
    anomalous_points=91,
    observed=0.31,
    score=7.6923076923076925,
    deviation=0.08333333333333333,
    end_reason="recovered",
    recent_values=np.array([0.3, 0.29, 0.33, 0.3, 0.31, 0.32, 0.3, 0.31]),
    spread=0.25,
    lean=-0.03125,
    peak_spread=0.875,
)

SINGLE: Final = {
    "name": IDENTITY.name,
    "labels": {"service.name": "checkout", "replica": 3},
    "time": "2026-11-22T00:02:00Z",
    "value": 0.9,
}
RECORDS: Final[dict[str, Any]] = {
    "metric.single": SINGLE,
    "metric.array": [SINGLE, {"name": "process.open_fds", "time": 1_795_305_720, "value": "42"}],
    "metric.columnar": {
        "name": IDENTITY.name,
        "labels": {"service.name": "checkout"},
        "time": [1_795_305_720_000, 1_795_305_780_000, 1_795_305_840_000],
        "value": [0.9, 1.4, 1.84],
    },
    "dead_letter": {
        "detector-reason": "time_unreadable",
        "detector-detail": "time 'yesterday' is neither RFC 3339 nor epoch s, ms, us or ns",
        "detector-topic": "metrics",
        "detector-partition": "3",
        "detector-offset": "9918231",
        "detector-timestamp-ms": "1795305721204",
        "detector-version": "0.1.0",
    },
}


def example_texts() -> dict[str, str]:
    """File name to JSON text: episodes of each kind, layouts of a metric record, a dead letter."""
    encoder = CloudEventsEncoder("/detector/prod-eu")
    texts: dict[str, str] = {}
    for name, minute, transition in (
        ("opened", 2, OPENED),
        ("updated", 4, UPDATED),
        ("closed", 18, CLOSED),
        ("no_data", 30, NO_DATA),
        ("resumed", 49, RESUMED),
        ("level_shift", 482, SHIFTED),
        ("stuck", 30, STUCK),
        ("variance", 29, SCATTERED),
        ("calmed", 120, CALMED),
    ):
        provenance = Provenance("metrics", 3, 9_918_229 + minute, transition.time_ms + 1_204)
        event = encoder.encode(transition, IDENTITY, "default", MODEL, provenance)
        texts[f"anomaly.{name}.json"] = pretty(event.value)
    for name, record in RECORDS.items():
        texts[f"{name}.json"] = pretty(msgspec.json.encode(record))
    return texts


def pretty(encoded: bytes) -> str:
    """JSON bytes as indented text with a final newline."""
    return msgspec.json.format(encoded, indent=2).decode() + "\n"
