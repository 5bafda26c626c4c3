"""Words of eight bytes at any place of an array: the same in kernels and in plain Python."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import IntArray
from detector.compiled import WORD_BYTES, compiled, load_word, ones, store_word, trailing_zeros
from detector.templates.letters import Bytes


@compiled
def _moved(source: Bytes, at: int, into: Bytes, to: int, found: IntArray) -> None:
    word = load_word(source, at)
    store_word(into, to, word)
    found[0] = trailing_zeros(word)
    found[1] = ones(word)


@settings(deadline=None)  # the first call compiles
@given(st.binary(min_size=WORD_BYTES, max_size=40), st.data())
def test_a_kernel_moves_and_counts_words_as_python_does(source: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(source) - WORD_BYTES))
    to = data.draw(st.integers(0, 30))
    into, found = np.full(40, 0xA5, np.uint8), np.zeros(2, np.int64)
    _moved(np.frombuffer(source, np.uint8), at, into, to, found)

    expected = b"\xa5" * to + source[at : at + WORD_BYTES] + b"\xa5" * (40 - WORD_BYTES - to)
    assert into.tobytes() == expected
    word = load_word(np.frombuffer(source, np.uint8), at)
    assert word == int.from_bytes(source[at : at + WORD_BYTES], "little")
    assert found.tolist() == [trailing_zeros(word), ones(word)]
    again = np.full(40, 0xA5, np.uint8)
    store_word(again, to, word)
    assert again.tobytes() == expected


def test_bits_are_counted_from_the_lowest() -> None:
    assert [trailing_zeros(np.uint64(word)) for word in (0, 1, 8, 1 << 63)] == [64, 0, 3, 63]
    assert [ones(np.uint64(word)) for word in (0, 1, 10, (1 << 64) - 1)] == [0, 1, 2, 64]
