"""The lines of a batch by their key, those of each in their order: what stands alone there, and what beside others."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from detector.batches import TIMESTAMP_UNKNOWN, BoolArray, IntArray, SeriesKey
from detector.log_batches import CONTINUES, ENDS_TRACEBACK, PARTIAL, WHOLE, LogBatch

SHORT_KEYS_MAX: Final = 2**15
"""Numbers of so many keys have 16 bits; NumPy sorts those digit by digit."""


class ByKey(NamedTuple):
    """A batch of n lines, laid out by key.

    ``places`` int64[n] where each line stands in the batch; ``heads`` int64[k] where the lines of each key begin here.
    bool[n]: ``first`` and ``last`` of a key; ``goes_on`` what may belong to the line before it; ``alone`` what goes on
    with none, and none with it, whatever has come before; ``whole`` what waits for no other. Beside another key a line
    may be taken for one that goes on, or is not alone, which costs time and changes nothing.
    """

    places: IntArray
    heads: IntArray
    first: BoolArray
    last: BoolArray
    goes_on: BoolArray
    alone: BoolArray
    whole: BoolArray


def by_key(batch: LogBatch, keys: Sequence[SeriesKey], opened: BoolArray) -> ByKey:
    """Lay out ``batch``, whose keys are ``keys``; ``opened`` bool[k] where a piece waits for the first."""
    places, first = _sorted(batch.keys, keys)
    last, heads = np.append(first[1:], True), np.flatnonzero(first)
    parts = batch.parts[places]
    goes_on = (parts == CONTINUES) | (parts == ENDS_TRACEBACK)
    goes_on[1:] |= parts[:-1] == PARTIAL
    goes_on[heads] |= opened
    whole = parts == WHOLE
    alone = ~goes_on & (whole | (batch.times_ms[places] != TIMESTAMP_UNKNOWN))
    alone[:-1] &= ~goes_on[1:]
    return ByKey(places, heads, first, last, goes_on, alone, whole)


def _sorted(of_lines: Sequence[SeriesKey], keys: Sequence[SeriesKey]) -> tuple[IntArray, BoolArray]:
    """Places by key, keys in the order of ``keys``, and which of them are the first of theirs."""
    n = len(of_lines)
    first = np.zeros(n, np.bool_)
    first[0] = True
    if len(keys) == 1:
        return np.arange(n), first
    numbers = dict(zip(keys, range(len(keys)), strict=True))
    kind = np.int16 if len(keys) <= SHORT_KEYS_MAX else np.int64
    codes = np.fromiter(map(numbers.__getitem__, of_lines), kind, n)
    places = np.argsort(codes, kind="stable")
    codes = codes[places]
    first[1:] = codes[1:] != codes[:-1]
    return places, first
