"""Answers that are remembered, within bounds, for as long as there is room."""

from typing import Final, Generic, TypeVar

Answer = TypeVar("Answer")


class Memo(Generic[Answer]):
    """Answers by key, at most ``entries_max`` with keys of ``bytes_max`` bytes together.

    A full one is emptied: only what can be found again is kept here. ``found`` is for looking up; it is changed by
    :meth:`put` and :meth:`clear` alone.
    """

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self.found: Final[dict[bytes, Answer]] = {}
        self._entries_max: Final = entries_max
        self._bytes_max: Final = bytes_max
        self._bytes = 0

    def put(self, key: bytes, answer: Answer) -> None:
        """Remember an answer, which may take the place of an earlier one."""
        if len(self.found) >= self._entries_max or self._bytes + len(key) > self._bytes_max:
            self.clear()
        self.found[key] = answer
        self._bytes += len(key)

    def clear(self) -> None:
        """Forget everything."""
        self.found.clear()
        self._bytes = 0
