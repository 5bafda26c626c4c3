"""One typed door to Numba.

Kernels are plain Python functions over primitive arrays and structured rows; :func:`compiled` turns them into machine
code and keeps the result on disk. ``NUMBA_DISABLE_JIT=1`` runs the same source in plain Python, which tests use to show
that both give the same bits. Fast-math stays off and no kernel reorders a sum, for the same reason.
"""

import sys
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

WORD_BYTES: Final = 8
"""Bytes of a word, which :func:`load_word` reads and :func:`store_word` writes at once, wherever they begin."""


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` on first call (``nogil``, cached on disk), keeping its signature for the type checker.

    Where no cache directory can be written (a read-only root file system without ``NUMBA_CACHE_DIR``) the kernel is
    compiled anew by each process: slower to start, otherwise the same.
    """
    try:
        kernel = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no writable place for its cache
        kernel = numba.njit(nogil=True, error_model="numpy")(function)
    return cast("Callable[P, R]", kernel)


def load_word(array: NDArray[np.uint8], at: int) -> np.uint64:
    """The eight bytes from ``at`` on, the first of them lowest; the array must have them."""
    return np.uint64(int.from_bytes(array[at : at + WORD_BYTES].tobytes(), "little"))


def store_word(array: NDArray[np.uint8], at: int, word: np.uint64) -> None:
    """Write the eight bytes from ``at`` on; the array must have room for them."""
    array[at : at + WORD_BYTES] = np.frombuffer(int(word).to_bytes(WORD_BYTES, "little"), np.uint8)


def trailing_zeros(word: np.uint64) -> int:
    """Zeros below the lowest bit that is one; 64 where none is."""
    value = int(word)
    return (value & -value).bit_length() - 1 if value else 8 * WORD_BYTES


def ones(word: np.uint64) -> int:
    """Bits that are one."""
    return int(word).bit_count()


# What kernels do in the place of these four: one instruction each. There are no bounds checks, as in all kernels.


def _instruction(generator: Callable[..., Any]) -> Any:
    return intrinsic(generator)  # which has no type that says what it may be called with


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), context.get_value_type(types.uint64).as_pointer())


def _little(builder: Any, word: Any) -> Any:
    return word if sys.byteorder == "little" else builder.bswap(word)


@_instruction
def _load(_: Any, array: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *given)
        return _little(builder, builder.load(pointer, align=1))

    return types.uint64(array, at), generate


@_instruction
def _store(_: Any, array: Any, at: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *given[:2])
        builder.store(_little(builder, given[2]), pointer, align=1)
        return context.get_dummy_value()

    return types.void(array, at, word), generate


@_instruction
def _trailing_zeros(_: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], context.get_constant(types.boolean, 0))

    return types.int64(word), generate


@_instruction
def _ones(_: Any, word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return builder.ctpop(given[0])

    return types.int64(word), generate


@overload(load_word, inline="always", strict=False)
def _load_word(array: Any, at: Any) -> Any:  # noqa: ARG001  # numba asks by types, and takes what is returned
    return lambda array, at: _load(array, np.int64(at))


@overload(store_word, inline="always", strict=False)
def _store_word(array: Any, at: Any, word: Any) -> Any:  # noqa: ARG001
    return lambda array, at, word: _store(array, np.int64(at), np.uint64(word))


@overload(trailing_zeros, inline="always", strict=False)
def _zeros_of_word(word: Any) -> Any:  # noqa: ARG001
    return lambda word: _trailing_zeros(np.uint64(word))


@overload(ones, inline="always", strict=False)
def _ones_of_word(word: Any) -> Any:  # noqa: ARG001
    return lambda word: _ones(np.uint64(word))
