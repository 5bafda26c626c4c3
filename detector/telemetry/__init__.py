"""What an operator sees: metrics, logs and health over HTTP.

Every metric stands once in one table, with a sentence and a remedy; nothing is counted per record. Log events are named
``noun_verb_past`` and rare by design. The worker's thread never waits for whoever looks.
"""

from detector.telemetry.health import Health, HealthServer
from detector.telemetry.logs import RareWarnings, configure_logs
from detector.telemetry.metric import Metric
from detector.telemetry.metrics import METRICS, Metrics
from detector.telemetry.observer import TelemetryObserver
from detector.telemetry.page import metrics_page

__all__ = [
    "METRICS",
    "Health",
    "HealthServer",
    "Metric",
    "Metrics",
    "RareWarnings",
    "TelemetryObserver",
    "configure_logs",
    "metrics_page",
]
