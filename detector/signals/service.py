"""The signals of one service: lines are counted into open windows, and a closed window becomes findings."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import IntArray
from detector.columns import grown
from detector.compiled import compiled
from detector.errors import SnapshotRefusedError
from detector.log_batches import RECENT_WINDOWS, WindowFindings
from detector.signals.findings import findings_of
from detector.signals.judged import JUDGED
from detector.signals.limits import SignalLimits
from detector.signals.merging import fold
from detector.signals.records import CLASSES, LEVELS, RATE, SERIES, SERVICE
from detector.signals.stored import KeptSignals, kept_window
from detector.signals.window import OUT, close_window

OPEN_MAX: Final = 3
"""Windows that may be open at once: the last one, and two more for lines that come late."""
ROWS_START: Final = 16
NUMBER_MAX: Final = 2**31


class OpenWindow:
    """Lines counted so far: by template and largest class, by class, and all of them."""

    def __init__(self, capacity: int) -> None:
        self.lines: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
        self.severities: NDArray[np.int8] = np.zeros(capacity, np.int8)
        self.classes: IntArray = np.zeros(CLASSES + 1, np.int64)
        """By class, and all in the last place."""

    def clear(self) -> None:
        """Begin anew."""
        self.lines[:] = 0
        self.severities[:] = 0
        self.classes[:] = 0

    def grow(self, capacity: int) -> None:
        """Make room for more templates."""
        lines, severities = self.lines, self.severities
        self.lines, self.severities = np.zeros(capacity, np.uint32), np.zeros(capacity, np.int8)
        self.lines[: len(lines)], self.severities[: len(severities)] = lines, severities


class ServiceSignals:
    """Judges the windows of one service by what its windows before have shown.

    State and findings are a function of the lines counted into each window, of merges and evictions where they came,
    and of the order in which windows are closed: of no batch and no clock.
    """

    def __init__(self, limits: SignalLimits) -> None:
        self._limits: Final = limits
        self._rows: NDArray[np.void] = np.zeros(ROWS_START, SERIES)
        self._service: NDArray[np.void] = np.zeros(1, SERVICE)
        self._service["season"] = self._service["season_mean"] = 1.0
        self._rates: NDArray[np.void] = np.zeros(CLASSES + LEVELS, RATE)
        self._whole: NDArray[np.void] = np.zeros(1, SERIES)
        self._judged = np.zeros((ROWS_START, JUDGED))
        self._out = np.zeros(OUT)
        self._open: dict[int, OpenWindow] = {}
        self._spare: list[OpenWindow] = []
        self._used = 1
        """Numbers below this one may be in use."""

    @property
    def windows_seen(self) -> int:
        """Windows learnt so far."""
        return int(self._service["windows"][0])

    def state_bytes(self) -> int:
        """Memory of the arrays."""
        windows = [*self._open.values(), *self._spare]
        return (
            self._rows.nbytes
            + self._judged.nbytes
            + self._service.nbytes
            + self._rates.nbytes
            + self._whole.nbytes
            + sum(each.lines.nbytes + each.severities.nbytes + each.classes.nbytes for each in windows)
        )

    def count(self, window_ms: int, numbers: IntArray, severities: NDArray[np.int8]) -> None:
        """Add lines to the open window that starts at ``window_ms``.

        ``numbers`` int64[m] of their templates, 0 for a line without one; ``severities`` int8[m], their classes.
        """
        assert len(numbers) == len(severities)
        window = self._window(window_ms)
        row = 0
        while row < len(numbers):
            row, highest = _count(numbers, severities, row, window.lines, window.severities, window.classes)
            self._used = max(self._used, highest + 1)
            if row < len(numbers):
                assert 0 <= numbers[row] <= self._limits.templates, "a template's number is beyond the limit"
                assert 0 <= severities[row] < CLASSES, "a severity is no class"
                self._grow(int(numbers[row]))

    def has_lines(self, window_ms: int) -> bool:
        """Whether lines were counted into the open window that starts at ``window_ms``."""
        return window_ms in self._open

    def merged(self, number: int, into: int) -> None:
        """Lines of ``number`` count for ``into`` from here on, and as if they always had."""
        self._grow(max(number, into))
        self._used = max(self._used, into + 1)
        fold(self._rows, number, into)
        self._rows[number] = np.zeros((), SERIES)
        for window in self._open.values():
            window.lines[into] += window.lines[number]
            window.severities[into] = max(window.severities[into], window.severities[number])
            window.lines[number] = window.severities[number] = 0

    def evicted(self, number: int) -> None:
        """Forget the template; its lines in open windows count for the service only."""
        if number >= len(self._rows):
            return
        self._rows[number] = np.zeros((), SERIES)
        for window in self._open.values():
            window.lines[number] = window.severities[number] = 0

    def close(self, slot: int, window_ms: int) -> WindowFindings:
        """Judge the window that starts at ``window_ms``, learn from it, and clear it."""
        assert not any(start_ms < window_ms for start_ms in self._open), "an earlier window is open"
        window = self._open.pop(window_ms, None) or self._fresh()
        seen, used = self.windows_seen, self._used
        close_window(
            self._rows[:used],
            window.lines[:used],
            window.severities[:used],
            window.classes[:CLASSES],
            int(window.classes[CLASSES]),
            self._service,
            self._rates,
            self._whole,
            self._judged[:used],
            self._out,
            window_ms,
            self._limits.offset_ms,
            self._limits.window_ms,
            self._limits.warm_up_windows,
        )
        found = findings_of(
            slot,
            window_ms,
            seen,
            ready=seen >= self._limits.warm_up_windows,
            rows=self._rows[:used],
            lines=window.lines[:used],
            classes=window.classes,
            whole=self._whole,
            place=int(self._service["place"][0]),
            judged=self._judged[:used],
            out=self._out,
        )
        window.clear()
        self._spare.append(window)
        return found

    def skip(self, windows: int) -> None:
        """Pass over windows in which the whole partition was silent.

        They say nothing about the service, so nothing is learnt; its histories show no lines there.
        """
        for _ in range(min(windows, RECENT_WINDOWS)):
            place = int(self._service["place"][0])
            self._rows["recent"][:, place] = 0
            self._whole["recent"][:, place] = 0
            self._service["place"] = (place + 1) % RECENT_WINDOWS
        if windows:
            self._rows["held"] = 0
            self._whole["held"] = 0
            self._service["held"] = 0

    def copy(self) -> KeptSignals:
        """The state as it is now; :func:`detector.signals.stored.laid_out` lays it out."""
        rows = self._rows[: self._used]
        numbers = np.flatnonzero(rows["total"]).astype(np.int32)
        windows = [
            kept_window(start_ms, each.lines, each.severities, each.classes) for start_ms, each in self._open.items()
        ]
        return KeptSignals(
            numbers, rows[numbers], self._service.copy(), self._rates.copy(), self._whole.copy(), windows
        )

    @classmethod
    def of(cls, kept: KeptSignals, limits: SignalLimits) -> "ServiceSignals":
        """Signals that go on where the copied ones were.

        Raises ``SnapshotRefusedError`` where they exceed the limits.
        """
        highest = max([0, *kept.numbers.tolist(), *(int(n) for each in kept.windows for n in each.numbers)])
        if highest > limits.templates or len(kept.windows) > OPEN_MAX:
            raise SnapshotRefusedError(
                f"the snapshot's signals have template {highest} and {len(kept.windows)} open windows: "
                f"at most {limits.templates} and {OPEN_MAX} are allowed"
            )
        signals = cls(limits)
        signals._grow(highest)
        signals._used = highest + 1
        signals._rows[kept.numbers] = kept.rows
        signals._service[:], signals._rates[:], signals._whole[:] = kept.service, kept.rates, kept.whole
        for each in kept.windows:
            window = signals._window(each.window_ms)
            window.lines[each.numbers] = each.lines
            window.severities[each.numbers] = each.severities
            window.classes[:] = each.classes
        return signals

    def _window(self, window_ms: int) -> OpenWindow:
        window = self._open.get(window_ms)
        if window is None:
            assert len(self._open) < OPEN_MAX, "too many windows are open"
            window = self._open[window_ms] = self._fresh()
        return window

    def _fresh(self) -> OpenWindow:
        """A window without lines."""
        return self._spare.pop() if self._spare else OpenWindow(len(self._rows))

    def _grow(self, number: int) -> None:
        """Make room for the template with this number."""
        capacity = len(self._rows)
        if number < capacity:
            return
        while capacity <= number:
            capacity *= 2
        capacity = min(capacity, self._limits.templates + 1)
        self._rows = grown(self._rows, capacity, np.zeros(1, SERIES))
        self._judged = np.zeros((capacity, JUDGED))
        for window in (*self._open.values(), *self._spare):
            window.grow(capacity)


@compiled
def _count(
    numbers: IntArray,
    severities: NDArray[np.int8],
    row: int,
    lines: NDArray[np.uint32],
    largest: NDArray[np.int8],
    classes: IntArray,
) -> tuple[int, int]:
    """Count lines from ``row`` on; the row of the first that does not fit, and the highest number counted."""
    highest = 0
    while row < len(numbers):
        number, severity = numbers[row], severities[row]
        if number < 0 or number >= len(lines) or severity < 0 or severity >= len(classes) - 1:
            break
        lines[number] += np.uint32(1)
        largest[number] = max(largest[number], severity)
        classes[severity] += 1
        classes[len(classes) - 1] += 1
        highest = max(highest, number)
        row += 1
    return row, highest
