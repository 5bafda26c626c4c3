"""What one row of the table of metrics is made of."""

from dataclasses import dataclass
from typing import Final, Literal

MetricKind = Literal["counter", "gauge", "histogram"]

PARTITION: Final = ("topic", "partition")

FAST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""From one network round trip to the point where a group begins to doubt a member."""
DELAY_SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0)
"""From live to a day of backlog."""
BATCH_RECORDS: Final = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: ``sentence`` says what it tells, ``remedy`` what an operator does when it looks wrong."""

    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    unit: str
    sentence: str
    remedy: str
    buckets: tuple[float, ...] = ()
