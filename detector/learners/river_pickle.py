"""Objects of river as bytes and back: the only file that knows pickle.

A pickle is a program, and whoever may write to the state topic could write one. So what is written here uses a small
part of the protocol, and nothing else is read:

1. The bytes are walked first (:mod:`detector.learners.pickle_scan`): plain data, and calls of globals, pass.
2. The only globals are the functions of this file in :data:`DOORS`. Each checks what it is given.
3. An object of river is made empty and then filled. Its class must be one of river's estimators, or stand in a list
   here. No constructor of river is called, but those of :data:`CONSTRUCTED`, which take numbers only.

What does not fit into that, such as a model with a foreign class inside, is not stored.
"""

import copyreg
import io
import pickle
import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final, Literal

import numpy as np
from river import base

from detector.errors import SnapshotRefusedError
from detector.learners.pickle_scan import PROTOCOL, fault_of

RIVER_VERSION: Final = f"river {version('river')}"
"""What the objects were made by; another version may read its own attributes differently."""

PACKAGES: Final = frozenset(
    {
        *("anomaly", "base", "cluster", "compose", "conf", "covariance", "drift", "ensemble", "feature_extraction"),
        *("feature_selection", "forest", "linear_model", "misc", "naive_bayes", "neighbors", "neural_net", "optim"),
        *("preprocessing", "proba", "rules", "sketch", "stats", "time_series", "tree", "utils"),
    }
)
"""Parts of river whose estimators may be stored; what loads data sets, reads streams or draws is not among them."""

PLAIN: Final = frozenset(
    {
        ("river.sketch.histogram", "Bin"),
        ("river.tree.padded", "PaddedBranch"),
        ("river.tree.padded", "PaddedLeaf"),
        ("river.neighbors.base", "FunctionWrapper"),
        ("river.time_series.snarimax", "Differencer"),
        ("river.utils.rolling", "Rolling"),
        ("river.utils.rolling", "TimeRolling"),
        ("river._river_rust.stats", "RsEWMean"),
        ("river._river_rust.stats", "RsEWVar"),
        ("river._river_rust.stats", "RsIQR"),
        ("river._river_rust.stats", "RsKurtosis"),
        ("river._river_rust.stats", "RsPeakToPeak"),
        ("river._river_rust.stats", "RsQuantile"),
        ("river._river_rust.stats", "RsSkew"),
    }
)
"""Classes beside river's estimators. Those in Rust that take a window's size are left out: it would be allocated."""

CONSTRUCTED: Final = frozenset(
    {
        ("river._river_rust.vectordict", "VectorDict"),
        *(
            ("river.time_series.holt_winters", name)
            for name in ("AdditiveLevel", "MultiplicativeLevel", "Trend", "AdditiveSeason", "MultiplicativeSeason")
        ),
    }
)
"""Classes that pickle asks to be called; they keep what they are given and do nothing else."""

FUNCTIONS: Final = frozenset(
    {
        ("river._river_rust.vectordict", "euclidean_distance_dict"),
        ("river._river_rust.vectordict", "euclidean_distance_tuple"),
        ("river.utils.math", "minkowski_distance"),
    }
)
"""Distances."""

FACTORIES: Final[dict[str, type]] = {kind.__name__: kind for kind in (tuple, list, dict, set, int, float)}

ARRAY_KINDS: Final = frozenset("biuf")

Reduced = str | tuple[Any, ...]


class _Door:
    """A function that a stored pickle may call: found by name, and unable to be changed by one."""

    __slots__ = ("_function", "_name")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._name = function.__name__.removeprefix("_").upper()

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __reduce__(self) -> str:
        return self._name

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError(f"a door cannot be given {state!r}")


def _class_of(module: str, name: str) -> type:
    """The class by its own name, if it may be stored; nothing is imported and no dots are followed."""
    found = getattr(sys.modules.get(module), "__dict__", {}).get(name)
    if not isinstance(found, type) or (found.__module__, found.__qualname__) != (module, name) or not _allowed(found):
        raise pickle.UnpicklingError(f"{module}.{name} is not a class that snapshots may hold")
    return found


def _allowed(kind: type) -> bool:
    place = (kind.__module__, kind.__qualname__)
    if place in PLAIN or place in CONSTRUCTED:
        return True
    package = kind.__module__.split(".")
    return package[0] == "river" and package[1:2] != [] and package[1] in PACKAGES and issubclass(kind, base.Base)


def _new(module: str, name: str, *arguments: float) -> Any:
    """An empty object; numbers are for classes in Rust, which want them."""
    _numbers(arguments)
    kind = _class_of(module, name)
    return kind.__new__(kind, *arguments)


def _construct(module: str, name: str, *arguments: Any) -> Any:
    if (module, name) not in CONSTRUCTED:
        raise pickle.UnpicklingError(f"{module}.{name} is not a class that snapshots may call")
    numbers = [each for each in arguments if each is not None and not isinstance(each, dict)]
    _numbers(numbers)
    return _class_of(module, name)(*arguments)


def _numbers(values: Iterable[object]) -> None:
    for value in values:
        if not isinstance(value, bool | int | float):
            raise pickle.UnpicklingError(f"a constructor cannot be given {value!r}")


def _fill(target: Any, content: tuple[Any, list[Any]]) -> None:
    """Give an object its attributes, then its items."""
    kind = type(target)
    if not _allowed(kind):
        raise pickle.UnpicklingError(f"a {kind.__qualname__} is not an object that snapshots may fill")
    state, items = content
    if hasattr(kind, "__setstate__"):
        if state is not None:
            target.__setstate__(state)
    elif state is not None:
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        for name in (*(attributes or ()), *(slots or ())):
            if not isinstance(name, str) or name.startswith("__"):
                raise pickle.UnpicklingError(f"{name!r} is not an attribute that snapshots may set")
        if attributes:
            target.__dict__.update(attributes)
        for name, value in (slots or {}).items():
            object.__setattr__(target, name, value)
    if items:
        deque.extend(target, items)


def _class(module: str, name: str) -> type:
    return _class_of(module, name)


def _factory(name: str) -> type:
    return FACTORIES[name]


def _function(module: str, name: str) -> Any:
    if (module, name) not in FUNCTIONS:
        raise pickle.UnpicklingError(f"{module}.{name} is not a function that snapshots may hold")
    return getattr(sys.modules[module], name)


def _partial(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return partial(_maker(function), *arguments, **keywords)


def _defaultdict(factory: Any, items: dict[Any, Any]) -> Any:
    return defaultdict(None if factory is None else _maker(factory), items)


def _maker(function: Any) -> Any:
    if type(function) is partial or isinstance(function, FunctionType | BuiltinFunctionType | type):
        return function  # all that can get here came through a door
    raise pickle.UnpicklingError(f"a {type(function).__qualname__} cannot be called later")


def _deque(items: list[Any], length_max: int | None) -> Any:
    return deque(items, length_max)


def _ordered(items: dict[Any, Any]) -> Any:
    return OrderedDict(items)


def _counter(items: dict[Any, int]) -> Any:
    return Counter(dict(items))


def _random(state: tuple[Any, ...]) -> random.Random:
    """A generator in the middle of its sequence; the seed is replaced at once."""
    generator = random.Random(0)  # noqa: S311  # a model's, not a secret's
    generator.setstate(state)
    return generator


def _array(kind: str, shape: tuple[int, ...], order: str, data: bytes) -> Any:
    dtype = np.dtype(kind)
    if dtype.kind not in ARRAY_KINDS or dtype.names is not None or order not in {"C", "F"}:
        raise pickle.UnpicklingError(f"an array of {kind!r} is not one that snapshots may hold")
    return np.ndarray(shape, dtype, bytearray(data), order="F" if order == "F" else "C")


def _scalar(kind: str, data: bytes) -> Any:
    return _array(kind, (), "C", data)[()]


_FUNCTIONS: Final[tuple[Callable[..., Any], ...]] = (
    *(_new, _construct, _fill, _class, _factory, _function, _partial, _defaultdict, _deque, _ordered),
    *(_counter, _random, _array, _scalar),
)
DOORS: Final[dict[str, _Door]] = {door.__reduce__(): door for door in map(_Door, _FUNCTIONS)}
"""By the names that stand in a pickle."""

NEW, CONSTRUCT, FILL, CLASS, FACTORY, FUNCTION = (
    DOORS[name] for name in ("NEW", "CONSTRUCT", "FILL", "CLASS", "FACTORY", "FUNCTION")
)
PARTIAL, DEFAULTDICT, DEQUE, ORDERED, COUNTER, RANDOM, ARRAY, SCALAR = (
    DOORS[name] for name in ("PARTIAL", "DEFAULTDICT", "DEQUE", "ORDERED", "COUNTER", "RANDOM", "ARRAY", "SCALAR")
)


class _Pickler(pickle.Pickler):
    """Writes what :func:`loads` reads; refuses anything else."""

    def reducer_override(self, obj: Any) -> Any:
        """How one object is written."""
        write = _WRITERS.get(type(obj))
        return _object(obj) if write is None else write(obj)


def _of_class(obj: type) -> Reduced:
    if FACTORIES.get(obj.__name__) is obj:
        return (FACTORY, (obj.__name__,))
    _class_of(obj.__module__, obj.__qualname__)
    return (CLASS, (obj.__module__, obj.__qualname__))


def _of_function(obj: Any) -> Reduced:
    module, name = str(obj.__module__), str(obj.__name__)
    if (module, name) not in FUNCTIONS or getattr(sys.modules.get(module), name, None) is not obj:
        raise pickle.PicklingError(f"the function {module}.{name} is not stored")
    return (FUNCTION, (module, name))


def _of_array(obj: Any) -> Reduced:
    if obj.dtype.kind not in ARRAY_KINDS or type(obj) is not np.ndarray:
        raise pickle.PicklingError(f"arrays of {obj.dtype} are not stored")
    order: Literal["C", "F"] = "F" if obj.flags.f_contiguous and not obj.flags.c_contiguous else "C"
    return (ARRAY, (obj.dtype.str, obj.shape, order, obj.tobytes(order)))


def _object(obj: Any) -> Reduced:
    """An object of river, as its own class would have it pickled."""
    kind = type(obj)
    if isinstance(obj, type):
        return _of_class(obj)
    if isinstance(obj, np.generic):
        _of_array(np.asarray(obj))
        return (SCALAR, (obj.dtype.str, obj.tobytes()))
    place = (kind.__module__, kind.__qualname__)
    _class_of(*place)
    reduced = obj.__reduce_ex__(PROTOCOL)
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if make is copyreg.__newobj__:  # type: ignore[attr-defined]  # what object.__reduce_ex__ gives
        make, arguments, door = arguments[0], arguments[1:], NEW
    else:
        door = CONSTRUCT
    if make is not kind or pairs is not None or (items is not None and not isinstance(obj, deque)):
        raise pickle.PicklingError(f"objects of {kind.__module__}.{kind.__qualname__} are not stored")
    listed = None if items is None else list(items)
    if state is None and not listed:
        return (door, (*place, *arguments))
    return (door, (*place, *arguments), (state, listed), None, None, FILL)


_WRITERS: Final[dict[type, Callable[[Any], Reduced]]] = {
    _Door: _Door.__reduce__,
    type: _of_class,
    FunctionType: _of_function,
    BuiltinFunctionType: _of_function,
    partial: lambda obj: (PARTIAL, (obj.func, obj.args, obj.keywords)),
    defaultdict: lambda obj: (DEFAULTDICT, (obj.default_factory, dict(obj))),
    deque: lambda obj: (DEQUE, (list(obj), obj.maxlen)),
    OrderedDict: lambda obj: (ORDERED, (dict(obj),)),
    Counter: lambda obj: (COUNTER, (dict(obj),)),
    random.Random: lambda obj: (RANDOM, (obj.getstate(),)),
    np.ndarray: _of_array,
}


class _Unpickler(pickle.Unpickler):
    """Knows no global but the doors."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Give a door."""
        door = DOORS.get(global_name)
        if module_name != __name__ or door is None:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is not known to snapshots")
        return door


def size_of(value: object) -> int:
    """Bytes of ``value`` as Python pickles it, near what it holds in memory; 0 where that cannot be told."""
    try:
        return len(pickle.dumps(value, protocol=PROTOCOL))
    except Exception:  # noqa: BLE001  # a foreign model may refuse in any way; the figure is for telemetry only
        return 0


def dumps(value: object) -> bytes | None:
    """Bytes that :func:`loads` gives ``value`` for; None where there are none."""
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, PROTOCOL).dump(value)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # a foreign model may refuse in any way, and Rust panics are no Exception
        return None
    data = buffer.getvalue()
    return data if fault_of(data) is None else None


def loads(data: bytes) -> Any:
    """What :func:`dumps` was given. Raises ``SnapshotRefusedError`` for anything that it would not have written."""
    fault = fault_of(data)
    if fault is not None:
        raise SnapshotRefusedError(f"the snapshot's objects of river cannot be read: {fault}")
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise SnapshotRefusedError(f"the snapshot's objects of river cannot be read: {error}") from error
