"""The law of the signals: findings are a function of the lines in each window and the order of closes.

Any cut of the lines into calls, restores from a snapshot at any window, and compiled or plain kernels: the same bits.
"""

import json
import os
import subprocess
import sys
from typing import Any, Final

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.log_batches import WindowFindings
from detector.signals import ServiceSignals, SignalLimits, laid_out, taken_apart
from detector.state import encode
from detector.state.snapshot import SnapshotHeader, decode

LIMITS: Final = SignalLimits(warm_up_windows=6, templates=40)
HEADER: Final = SnapshotHeader(
    config_hash="", cluster="", topic="", partition=0, offset=0, watermark_ms=0, series_count=0, open_episodes=0
)
Lines = tuple[NDArray[np.int64], NDArray[np.int8]]


def stream(seed: int, windows: int = 40) -> list[Lines]:
    """Lines by window of a service that changes, falls silent, bursts and is reworded."""
    source = np.random.default_rng(seed)
    rates = np.exp(source.normal(0.5, 1.5, 18))
    found = []
    for k in range(windows):
        means = rates * (1.0 + 0.5 * np.sin(k / 5.0)) * (k % 13 > 0)
        means[12:] *= k >= 25
        means[:4] *= 12.0 if k in {20, 21} else float(k < 28)
        numbers = source.permutation(np.repeat(np.arange(18), source.poisson(means)))
        found.append((numbers, source.choice([0, 2, 3, 4], len(numbers)).astype(np.int8)))
    return found


def plain(found: WindowFindings) -> list[Any]:
    """All that findings say, to the last bit."""
    fields = [found.slot, found.window_ms, found.windows_seen, found.ready, found.lines, found.expected_lines.hex()]
    numbers = [*found.signals, found.combined, found.score, *found.usual_severities]
    templates = [
        [value.tolist() if isinstance(value, np.ndarray) else value for value in template]
        for template in found.templates
    ]
    return [
        *fields,
        [number.hex() for number in numbers],
        list(found.severities),
        found.new_templates,
        found.vanished_templates,
        json.loads(json.dumps(templates)),
        found.recent.tolist(),
    ]


def columns_of(signals: ServiceSignals) -> dict[str, Any]:
    """The state, as a snapshot has it."""
    return {name: column.tolist() for name, column in laid_out([signals.copy()]).items()}


def restored(signals: ServiceSignals) -> ServiceSignals:
    """What comes out of a snapshot of these signals."""
    copy = signals.copy()
    (kept,) = taken_apart(decode(encode(HEADER, lambda: laid_out([copy]))).columns)
    return ServiceSignals.of(kept, LIMITS)


def played(lines: list[Lines], cuts: list[int], restores: set[int]) -> tuple[list[list[Any]], dict[str, Any]]:
    """Findings by window, and the state in the end; each window is counted in calls of so many lines."""
    signals = ServiceSignals(LIMITS)
    found = []
    for k in range(len(lines) + 1):
        if k < len(lines):
            numbers, severities = lines[k]
            start = 0
            for cut in [*cuts, len(numbers)]:
                signals.count(k * 60_000, numbers[start : start + cut], severities[start : start + cut])
                start += cut
        if k in restores:
            signals = restored(signals)
        if k > 0:
            found.append(plain(signals.close(3, (k - 1) * 60_000)))
    return found, columns_of(signals)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9), st.lists(st.integers(0, 30), max_size=5), st.sets(st.integers(0, 40), max_size=6))
def test_cuts_and_restores_change_nothing(seed: int, cuts: list[int], restores: set[int]) -> None:
    lines = stream(seed)
    assert played(lines, cuts, restores) == played(lines, [], set())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 9), st.integers(0, 17), st.integers(0, 17), st.integers(1, 39))
def test_merged_templates_are_as_if_always_one(seed: int, number: int, into: int, when: int) -> None:
    lines = stream(seed)
    two, one = ServiceSignals(LIMITS), ServiceSignals(LIMITS)
    for k, (numbers, severities) in enumerate(lines):
        merged = np.where(numbers == number, into, numbers)
        two.count(k * 60_000, merged if k > when else numbers, severities)
        one.count(k * 60_000, merged, severities)
        if k == when and number != into:
            two.merged(number, into)
        first, second = two.close(0, k * 60_000), one.close(0, k * 60_000)
        if k >= when:
            assert (first.lines, first.severities) == (second.lines, second.severities)
            assert first.recent.tolist() == second.recent.tolist()
    left, right = columns_of(two), columns_of(one)
    for name in ("numbers", "rows.total", "rows.first_ms", "rows.recent", "rows.windows", "rows.silent"):
        assert left[name] == right[name]
    np.testing.assert_allclose(left["rows.slow_mean"], right["rows.slow_mean"], rtol=1e-9)
    np.testing.assert_allclose(left["rows.slow_windows"], right["rows.slow_windows"], rtol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 9), st.integers(1, 17), st.integers(0, 39))
def test_a_number_that_was_evicted_begins_anew(seed: int, number: int, when: int) -> None:
    signals = ServiceSignals(LIMITS)
    for k, (numbers, severities) in enumerate(stream(seed)):
        signals.count(k * 60_000, numbers, severities)
        if k == when:
            signals.evicted(number)
        found = signals.close(0, k * 60_000)
        assert found.lines == len(numbers)
        assert found.severities == tuple(np.bincount(severities, minlength=6).tolist())
    state = columns_of(signals)
    totals = dict(zip(state["numbers"], state["rows.total"], strict=True))
    expected = sum(int((numbers == number).sum()) for numbers, _ in stream(seed)[when + 1 :])
    assert totals.get(number, 0) == expected


SCRIPT: Final = """
import json
from tests.properties.test_signal_properties import played, stream
print(json.dumps([played(stream(seed), [7], {11}) for seed in (0, 1)]))
"""


def test_plain_python_gives_the_bits_of_the_compiled_kernels() -> None:
    told = subprocess.run(  # noqa: S603 - the text above
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    compiled = [played(stream(seed), [7], {11}) for seed in (0, 1)]
    assert json.loads(told) == json.loads(json.dumps(compiled))
