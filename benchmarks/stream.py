"""The input of the pipeline benchmarks: JSON metrics of many series with four labels each, seeded."""

from collections.abc import Iterator

import numpy as np

SERIES_COUNT = 5_000
INTERVAL_MS = 15_000
START_MS = 1_750_000_000_000
SEED = 7
SPIKE_SHARE = 2e-4
"""Share of rounds in which a series begins an incident of eight samples: some hundred episodes in a million records."""


def metric_rounds(rounds: int, series_count: int = SERIES_COUNT) -> Iterator[list[bytes]]:
    """One list of records per scrape, one record per series: a daily wave with Gaussian noise and rare incidents."""
    random = np.random.default_rng(SEED)
    level = np.exp(random.normal(2.0, 1.0, series_count))
    phase = random.uniform(0.0, 2.0 * np.pi, series_count)
    incident_left = np.zeros(series_count, dtype=np.int64)
    heads = [
        b'{"name":"http.server.request.duration.p95","labels":{"service":"svc-%d","namespace":"shop-%d",'
        b'"instance":"10.0.%d.%d:8080","cluster":"eu-1"},"time":' % (s % 200, s % 7, s // 250, s % 250)
        for s in range(series_count)
    ]
    for turn in range(rounds):
        time_ms = START_MS + turn * INTERVAL_MS
        wave = 1.0 + 0.3 * np.sin(2.0 * np.pi * (time_ms % 86_400_000) / 86_400_000 + phase)
        starts = (random.random(series_count) < SPIKE_SHARE) & (turn > 60)
        incident_left = np.where(starts, 8, np.maximum(incident_left - 1, 0))
        values = level * (wave + 0.05 * random.normal(size=series_count) + 3.0 * (incident_left > 0))
        yield [b'%b%d,"value":%.6g}' % (heads[s], time_ms, value) for s, value in enumerate(values.tolist())]
