"""Imaginary services that write log lines, seeded: what calm windows are like, and deploys that reword messages.

A service has templates with log-normal rates. All follow its load: a sine of a day, with noise of its own in every
window. Each scatters more than Poisson; some come in clumps of retries, some once a day, and a long tail comes once in
a thousand windows or never.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.log_batches import WindowFindings
from detector.signals import ServiceSignals, SignalLimits

WINDOW_MS: Final = 60_000
DAY_WINDOWS: Final = 1_440
VOLUMES: Final = ((1.0, 10.0), (10.0, 100.0), (100.0, 1_000.0), (1_000.0, 10_000.0))
"""Classes of lines per window."""
CLUMP_LINES: Final = 6.0
TAIL_RATE: Final = 3e-4


class Service(NamedTuple):
    """Rates per window, overdispersion, share of lines that come in clumps, and severities, by template."""

    rates: NDArray[np.float64]
    spreads: NDArray[np.float64]
    clumped: NDArray[np.bool_]
    severities: NDArray[np.int8]
    load_spread: float
    swing: float
    phase: float


def service(source: np.random.Generator, volume: tuple[float, float], templates: int) -> Service:
    """A service with so many templates and, on average, lines of the volume."""
    rates = np.exp(source.normal(0.0, 1.8, templates))
    lines = np.exp(source.uniform(np.log(volume[0]), np.log(volume[1])))
    rates *= lines / rates.sum()
    tail = source.random(templates) < 0.3
    rates[tail] = np.minimum(rates[tail], TAIL_RATE * np.exp(source.normal(0.0, 1.5, int(tail.sum()))))
    spreads = np.where(source.random(templates) < 0.3, 0.0, np.exp(source.normal(-3.0, 1.0, templates)))
    severities = source.choice([1, 2, 3, 4], templates, p=[0.1, 0.75, 0.1, 0.05]).astype(np.int8)
    return Service(
        rates,
        spreads,
        source.random(templates) < 0.15,
        severities,
        float(np.exp(source.normal(-4.0, 1.0))),
        float(source.uniform(0.0, 0.6)),
        float(source.uniform(0.0, 2.0 * np.pi)),
    )


def counts_of(source: np.random.Generator, each: Service, windows: int) -> NDArray[np.int64]:
    """Lines by window and template, int64[windows, templates], of a calm service."""
    load = 1.0 + each.swing * np.sin(2.0 * np.pi * np.arange(windows) / DAY_WINDOWS + each.phase)
    load *= source.gamma(1.0 / each.load_spread, each.load_spread, windows)
    means = load[:, None] * each.rates[None, :]
    own = each.spreads > 0.0
    means[:, own] *= source.gamma(1.0 / each.spreads[own], each.spreads[own], (windows, int(own.sum())))
    means[:, each.clumped] /= CLUMP_LINES
    counts = source.poisson(means)
    clumps = counts[:, each.clumped]
    counts[:, each.clumped] = clumps + source.negative_binomial(np.maximum(clumps, 1), 1.0 / CLUMP_LINES) * (clumps > 0)
    return counts.astype(np.int64)


def played(
    counts: NDArray[np.int64], severities: NDArray[np.int8], limits: SignalLimits, start_ms: int = 0
) -> Iterator[WindowFindings]:
    """Findings of each window."""
    signals = ServiceSignals(limits)
    numbers = np.arange(1, counts.shape[1] + 1)
    for k, row in enumerate(counts):
        window_ms = start_ms + k * WINDOW_MS
        lines = np.repeat(numbers, row)
        signals.count(window_ms, lines, severities[lines - 1])
        yield signals.close(0, window_ms)
