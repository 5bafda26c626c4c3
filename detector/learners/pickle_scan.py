"""What a pickle would do, found out without doing any of it.

Python's unpickler trusts its input: it allocates what size fields claim, fills a memo at any index, and calls whatever
lies on its stack. So a pickle is walked beforehand with the types of its stack in place of values, and only a small
part of protocol 5 passes: plain data, and calls of globals (which the unpickler then looks up in a table of its own).

Source of the opcodes and their effects: the standard library's pickletools.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.compiled import compiled

# What may lie on the stack. Tuples of atoms, three deep at most, may be keys: hashing deeper ones can overflow a stack.
ATOM: Final = 1
TUPLE_HASHABLE_MAX: Final = 4
TUPLE: Final = 5
OTHER: Final = 6
LIST: Final = 7
DICT: Final = 8
SET: Final = 9
VALUE_MAX: Final = SET
GLOBAL: Final = 10
MARK: Final = 11

FORBIDDEN: Final = -128
LENGTH_1: Final = -1
LENGTH_4: Final = -4
LENGTH_8: Final = -8

# Opcodes with an effect of their own; every other one that is allowed pushes an atom.
OP_MARK: Final = 0x28
OP_EMPTY_TUPLE: Final = 0x29
OP_STOP: Final = 0x2E
OP_POP: Final = 0x30
OP_POP_MARK: Final = 0x31
OP_REDUCE: Final = 0x52
OP_EMPTY_LIST: Final = 0x5D
OP_APPEND: Final = 0x61
OP_APPENDS: Final = 0x65
OP_BINGET: Final = 0x68
OP_LONG_BINGET: Final = 0x6A
OP_SETITEM: Final = 0x73
OP_TUPLE: Final = 0x74
OP_SETITEMS: Final = 0x75
OP_EMPTY_DICT: Final = 0x7D
OP_PROTO: Final = 0x80
OP_TUPLE1: Final = 0x85
OP_TUPLE3: Final = 0x87
OP_EMPTY_SET: Final = 0x8F
OP_ADDITEMS: Final = 0x90
OP_FROZENSET: Final = 0x91
OP_STACK_GLOBAL: Final = 0x93
OP_MEMOIZE: Final = 0x94
OP_FRAME: Final = 0x95
PROTOCOL: Final = 5


def _argument_sizes() -> NDArray[np.int64]:
    sizes = np.full(256, FORBIDDEN, np.int64)
    without = (
        *(OP_MARK, OP_EMPTY_TUPLE, OP_STOP, OP_POP, OP_POP_MARK, OP_REDUCE, OP_EMPTY_LIST, OP_APPEND, OP_APPENDS),
        *(OP_SETITEM, OP_TUPLE, OP_SETITEMS, OP_EMPTY_DICT, OP_TUPLE1, 0x86, OP_TUPLE3, OP_EMPTY_SET, OP_ADDITEMS),
        *(OP_FROZENSET, OP_STACK_GLOBAL, OP_MEMOIZE, 0x4E, 0x88, 0x89),  # NONE, NEWTRUE, NEWFALSE
    )
    sizes[list(without)] = 0
    sizes[[OP_PROTO, OP_BINGET, 0x4B]] = 1  # BININT1
    sizes[0x4D] = 2  # BININT2
    sizes[[OP_LONG_BINGET, 0x4A]] = 4  # BININT
    sizes[[OP_FRAME, 0x47]] = 8  # BINFLOAT
    sizes[[0x8A, 0x8C, 0x43]] = LENGTH_1  # LONG1, SHORT_BINUNICODE, SHORT_BINBYTES
    sizes[[0x8B, 0x58, 0x42]] = LENGTH_4  # LONG4, BINUNICODE, BINBYTES
    sizes[[0x8D, 0x8E]] = LENGTH_8  # BINUNICODE8, BINBYTES8
    return sizes


ARGUMENT_SIZES: Final = _argument_sizes()


@compiled
def _number(data: NDArray[np.uint8], start: int, width: int) -> int:
    """The little-endian unsigned number there, or a far too large one."""
    value = 0
    for index in range(width):
        if index >= 6 and data[start + index] != 0:  # noqa: PLR2004  # 2^48 is beyond any snapshot, and fits an int64
            return 1 << 62
        if index < 6:  # noqa: PLR2004
            value += int(data[start + index]) << (8 * index)
    return value


@compiled
def _tuple_of(stack: NDArray[np.int8], start: int, stop: int) -> int:
    """Type of a tuple of these; 0 where one of them may lie in none."""
    kind = ATOM
    for index in range(start, stop):
        if stack[index] > VALUE_MAX:
            return 0
        kind = max(kind, stack[index])
    return kind + 1 if kind < TUPLE_HASHABLE_MAX else TUPLE


@compiled
def _are_values(stack: NDArray[np.int8], start: int, stop: int) -> bool:
    for index in range(start, stop):  # noqa: SIM110  # a kernel
        if stack[index] > VALUE_MAX:
            return False
    return True


@compiled
def _are_keys(stack: NDArray[np.int8], start: int, stop: int, step: int) -> bool:
    for index in range(start, stop, step):  # noqa: SIM110  # a kernel
        if stack[index] > TUPLE_HASHABLE_MAX:
            return False
    return True


@compiled
def _fault(data: NDArray[np.uint8], sizes: NDArray[np.int64], stack: NDArray[np.int8], memo: NDArray[np.int8]) -> int:  # noqa: C901, PLR0911, PLR0912, PLR0915  # one dispatch over opcodes
    """Position of the first opcode that must not be, or -1. ``stack`` and ``memo`` have room for one entry per byte."""
    size, at, depth, remembered = len(data), 0, 0, 0
    while at < size:
        op = int(data[at])
        here = at
        at += 1
        width = sizes[op]
        if width == FORBIDDEN:
            return here
        if width < 0:
            if size - at < -width:
                return here
            width = _number(data, at, -width) - width
        if width > size - at:
            return here
        stop = at + width
        if op == OP_PROTO:
            if here != 0 or data[at] != PROTOCOL:
                return here
        elif here == 0:
            return here
        elif op == OP_FRAME:
            if _number(data, at, 8) > size - stop:
                return here
        elif op == OP_MARK:
            stack[depth] = MARK
            depth += 1
        elif op in (OP_EMPTY_LIST, OP_EMPTY_DICT, OP_EMPTY_SET, OP_EMPTY_TUPLE):  # a kernel knows no sets
            stack[depth] = LIST
            if op == OP_EMPTY_DICT:
                stack[depth] = DICT
            elif op == OP_EMPTY_SET:
                stack[depth] = SET
            elif op == OP_EMPTY_TUPLE:
                stack[depth] = ATOM + 1
            depth += 1
        elif op in (OP_BINGET, OP_LONG_BINGET):
            index = _number(data, at, stop - at)
            if index >= remembered:
                return here
            stack[depth] = memo[index]
            depth += 1
        elif op == OP_MEMOIZE:
            if depth == 0 or stack[depth - 1] == MARK:
                return here
            memo[remembered] = stack[depth - 1]
            remembered += 1
        elif op == OP_STOP:
            return -1 if stop == size and depth == 1 and stack[0] <= VALUE_MAX else here
        elif op == OP_POP:
            if depth == 0 or stack[depth - 1] > VALUE_MAX:
                return here
            depth -= 1
        elif op == OP_STACK_GLOBAL:
            if depth < 2 or stack[depth - 1] != ATOM or stack[depth - 2] != ATOM:  # noqa: PLR2004
                return here
            depth -= 1
            stack[depth - 1] = GLOBAL
        elif op == OP_REDUCE:
            if depth < 2 or stack[depth - 2] != GLOBAL or not ATOM < stack[depth - 1] <= TUPLE:  # noqa: PLR2004
                return here
            depth -= 1
            stack[depth - 1] = OTHER
        elif OP_TUPLE1 <= op <= OP_TUPLE3:
            first = depth - (op - OP_TUPLE1 + 1)
            kind = 0 if first < 0 else _tuple_of(stack, first, depth)
            if kind == 0:
                return here
            stack[first] = kind
            depth = first + 1
        elif op == OP_APPEND:
            if depth < 2 or stack[depth - 2] != LIST or stack[depth - 1] > VALUE_MAX:  # noqa: PLR2004
                return here
            depth -= 1
        elif op == OP_SETITEM:
            if (
                depth < 3  # noqa: PLR2004
                or stack[depth - 3] != DICT
                or stack[depth - 2] > TUPLE_HASHABLE_MAX
                or stack[depth - 1] > VALUE_MAX
            ):
                return here
            depth -= 2
        elif op in (OP_TUPLE, OP_POP_MARK, OP_APPENDS, OP_SETITEMS, OP_ADDITEMS, OP_FROZENSET):
            mark = depth - 1
            while mark >= 0 and stack[mark] != MARK:
                mark -= 1
            if mark < 0 or not _are_values(stack, mark + 1, depth):
                return here
            below = stack[mark - 1] if mark > 0 else MARK
            if op == OP_TUPLE:
                stack[mark] = _tuple_of(stack, mark + 1, depth)
                depth = mark + 1
            elif op == OP_POP_MARK:
                depth = mark
            elif op == OP_FROZENSET:
                if not _are_keys(stack, mark + 1, depth, 1):
                    return here
                stack[mark] = OTHER
                depth = mark + 1
            else:
                if op == OP_APPENDS:
                    fits = below == LIST
                elif op == OP_ADDITEMS:
                    fits = below == SET and _are_keys(stack, mark + 1, depth, 1)
                else:
                    fits = below == DICT and (depth - mark) % 2 == 1 and _are_keys(stack, mark + 1, depth, 2)
                if not fits:
                    return here
                depth = mark
        else:
            stack[depth] = ATOM
            depth += 1
        at = stop
    return size


def fault_of(data: bytes) -> str | None:
    """Why ``data`` must not be unpickled; None for what passes."""
    codes = np.frombuffer(data, np.uint8)
    at = _fault(codes, ARGUMENT_SIZES, np.empty(len(codes) + 1, np.int8), np.empty(len(codes) + 1, np.int8))
    if at < 0:
        return None
    if at >= len(codes):
        return "the pickle is cut short"
    return f"the pickle has an opcode that is not allowed where it stands: {codes[at]:#04x} at byte {at}"
