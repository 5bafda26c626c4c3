"""docs/metrics.md, made from the table."""

from typing import Final

from detector.telemetry.metrics import METRICS

HEAD: Final = """# Metrics

Made from the table in `detector/telemetry/metrics.py`; change it there. All are served at `/metrics`
(`telemetry.http_port`), beside `process_…` and `python_…` of the client library.
"""


def metrics_page() -> str:
    """Write the page: a heading per metric, then what it says and what to do."""
    sections = [
        f"## {metric.name}\n\n"
        f"{metric.kind} · {metric.unit}{' · by ' + ', '.join(metric.labels) if metric.labels else ''}\n\n"
        f"{metric.sentence}\n\n"
        f"*What to do:* {metric.remedy}\n"
        for metric in METRICS
    ]
    return "\n".join([HEAD, *sections])
