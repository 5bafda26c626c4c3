"""The circuit breaker: random text must not drive out what a service usually says.

Lines are counted in windows. Once the templates evicted within a window are more than ``share`` of its lines, training
stops at that line until the end of the next window; then it begins again. Where it soon trips again it stops for twice
as long, up to ``PAUSE_WINDOWS_MAX`` windows. Meanwhile lines that no template covers are counted as other.
"""

from typing import Final

PAUSE_WINDOWS_MAX: Final = 64
STATE_FIELDS: Final = ("window", "evictions", "closed_line", "pause_windows", "tripped")


class Breaker:
    """Watches evictions by the service's line numbers; no clock."""

    def __init__(self, window_lines: int, share: float) -> None:
        self._window_lines: Final = window_lines
        self._evictions_max: Final = int(window_lines * share)
        self._window = 0
        self._evictions = 0
        self._closed_line = 0
        self._pause_windows = 1
        self.tripped_count = 0

    def trains(self, line: int) -> bool:
        """Whether the line with this number may change templates."""
        return line >= self._closed_line

    def evicted(self, line: int, count: int) -> None:
        """Templates were evicted at this line."""
        window = line // self._window_lines
        if window != self._window:
            self._window, self._evictions = window, 0
        self._evictions += count
        if self._evictions <= self._evictions_max:
            return
        rested_windows = window - self._closed_line // self._window_lines
        again = self.tripped_count > 0 and rested_windows <= self._pause_windows
        self._pause_windows = min(2 * self._pause_windows, PAUSE_WINDOWS_MAX) if again else 1
        self._closed_line = (window + 1 + self._pause_windows) * self._window_lines
        self._evictions = 0
        self.tripped_count += 1

    def state(self) -> tuple[int, ...]:
        """All it knows, as integers."""
        return self._window, self._evictions, self._closed_line, self._pause_windows, self.tripped_count

    def restore(self, state: tuple[int, ...]) -> None:
        """Go on from a state."""
        self._window, self._evictions, self._closed_line, self._pause_windows, self.tripped_count = state
