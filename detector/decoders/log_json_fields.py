r"""Where log records in JSON keep their parts, and the msgspec type made from that.

A profile lists, for each part of a line, the places that its producers use, the most telling first. From all of them
one struct type is made, so that a record is parsed once and unknown fields are skipped. A place is a dotted path; a dot
that belongs to a key is written ``\.``. One key may be text with one producer and an object with another: ``log`` is
the message of Fluent Bit and an object in ECS.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np

from detector.batches import BoolArray
from detector.decoders.log_severity import Scale
from detector.errors import UsageError

_NULL: Final = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class Profile:
    """Places of a line's parts, by precedence; ``scale`` is what a bare number of severity means.

    ``streamed``: producers give each line the severity of its stream, so that it does not tell a line from the next.

    ``stacks`` hold a stack trace beside the message. ``services`` are looked at in tiers: the next one only where those
    before tell no service; ``surroundings`` (namespace, environment, tenant) beside each tier. Places of services and
    surroundings keep their JSON text, which is read once for each distinct one.
    """

    name: str
    messages: tuple[str, ...]
    severities: tuple[str, ...]
    times: tuple[str, ...]
    services: tuple[tuple[str, ...], ...]
    traces: tuple[str, ...] = ()
    stacks: tuple[str, ...] = ()
    surroundings: tuple[str, ...] = ()
    scale: Scale = "any"
    streamed: bool = False
    times_strict: bool = False


@dataclass(slots=True)
class _Node:
    attribute: str
    children: dict[str, "_Node"] = field(default_factory=dict)
    raw: bool = False


class Fields:
    """The struct type for some places, and their columns over instances of it.

    ``places`` values come as Python objects, ``raw_places`` as JSON text, ``markers`` are keys of which only the
    presence is asked. ``kind`` has a field for every key of theirs; :meth:`narrowed` gives a smaller type for records
    that are known to have only certain keys. Raises ``UsageError`` for a path that is empty in part, or goes through
    one of the raw places.
    """

    def __init__(self, places: Sequence[str], raw_places: Sequence[str], markers: Sequence[str] = ()) -> None:
        self._root = _Node("Record")
        self._routes = {place: self._grow(place, raw=False) for place in places}
        self._routes |= {place: self._grow(place, raw=True) for place in raw_places}
        for marker in markers:
            (key,) = parts_of(marker)
            if key not in self._root.children:
                self._grow(marker, raw=True)
        self._types = {key: _type(child) for key, child in self._root.children.items()}
        self.kind: Final[Any] = _struct(self._root, self._types)
        self._keys = {place: parts_of(place)[0] for place in (*self._routes, *markers)}
        self._narrow: dict[Any, frozenset[str]] = {}
        self._heads = {place: attrgetter(route[0]) for place, route in self._routes.items()}
        self._whole = {place: attrgetter(".".join(route)) for place, route in self._routes.items()}
        self._mixed = {place for place in self._routes if self._node(place).children}
        self._marks = {marker: attrgetter(self._node(marker).attribute) for marker in markers}
        self._raw_marks = {marker for marker in markers if self._node(marker).raw}

    def _grow(self, place: str, *, raw: bool) -> tuple[str, ...]:
        """Add a path to the tree; the attributes that lead to its end."""
        node, route = self._root, []
        for part in parts_of(place):
            if node.raw:
                raise UsageError(f"logs.paths: {place!r} goes through a field that tells the service")
            node = node.children.setdefault(part, _Node(f"f{len(node.children)}"))
            route.append(node.attribute)
        if raw and node.children:
            raise UsageError(f"logs.paths: another path goes through {place!r}, which tells the service")
        node.raw = node.raw or raw
        return tuple(route)

    def narrowed(self, keys: Collection[str]) -> Any:
        """A type for objects that have no other keys than these; it refuses those that do. The one before is forgotten.

        Its points have the same columns as those of ``kind``, and are made faster: a field that none of them has costs
        nothing.
        """
        known = {key: child for key, child in self._root.children.items() if key in keys}
        others = {key: _Node(f"o{place}", raw=True) for place, key in enumerate(sorted(keys)) if key not in known}
        types = self._types | dict.fromkeys(others, msgspec.Raw)
        kind = _struct(_Node("Record", known | others), types, forbid_unknown_fields=True)
        self._narrow = {kind: frozenset(known)}
        return kind

    def lacks(self, points: Sequence[Any], place: str) -> bool:
        """Whether the type of ``points`` says that none has anything at ``place``, or there are none."""
        keys = self._narrow.get(type(points[0])) if points else ()
        return keys is not None and self._keys[place] not in keys

    def column(self, points: Sequence[Any], place: str) -> list[Any]:
        """What stands at ``place`` in each point; None where nothing does, or an object whose fields have places."""
        if self.lacks(points, place):
            return [None] * len(points)
        try:
            values = list(map(self._whole[place], points))
        except AttributeError:
            values = self._through(points, place)
        if place in self._mixed and _has_object(values):
            return [None if isinstance(value, msgspec.Struct) else value for value in values]
        return values

    def _through(self, points: Sequence[Any], place: str) -> list[Any]:
        """The column at the end of a route on which not every point has objects."""
        values = list(map(self._heads[place], points))
        for attribute in self._routes[place][1:]:
            if not _has_object(values):
                return [None] * len(points)
            values = [getattr(value, attribute) if isinstance(value, msgspec.Struct) else None for value in values]
        return values

    def present(self, points: Sequence[Any], marker: str) -> BoolArray | None:
        """Which points have anything but null under the key ``marker``; None where all lack it."""
        if self.lacks(points, marker):
            return None
        values = list(map(self._marks[marker], points))
        absent = values.count(None)
        if absent == len(values):
            return None
        if not absent and not (marker in self._raw_marks and values.count(_NULL)):
            return np.ones(len(values), dtype=np.bool_)
        return np.fromiter((value is not None and value != _NULL for value in values), np.bool_, len(values))

    def _node(self, place: str) -> _Node:
        node = self._root
        for part in parts_of(place):
            node = node.children[part]
        return node


def _has_object(values: Sequence[Any]) -> bool:
    return any(issubclass(kind, msgspec.Struct) for kind in set(map(type, values)))


def first_of(fields: Fields, points: Sequence[Any], places: Sequence[str]) -> list[Any]:
    """The value at the first of ``places`` that each point has, None where it has none."""
    values: list[Any] = []
    for place in places:
        if fields.lacks(points, place):
            continue
        more = fields.column(points, place)
        absent = more.count(None)
        if absent == len(more):
            continue
        values = (
            [other if value is None else value for value, other in zip(values, more, strict=True)] if values else more
        )
        if not absent or None not in values:
            break
    return values or [None] * len(points)


def parts_of(path: str) -> tuple[str, ...]:
    """The keys of a dotted path. Raises ``UsageError`` where one is empty."""
    parts = tuple(part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path))
    if not all(parts):
        raise UsageError(f"logs.paths: {path!r} has an empty part")
    if not all(map(can_be_field, parts)):
        raise UsageError(f"logs.paths: {path!r} has a quotation mark, backslash or control character in it")
    return parts


def can_be_field(key: str) -> bool:
    """Whether msgspec takes ``key`` for a field's name."""
    return key.isprintable() and '"' not in key and "\\" not in key


def _type(node: _Node) -> Any:
    if node.raw:
        return msgspec.Raw
    if not node.children:
        return Any
    inner = _struct(node, {key: _type(child) for key, child in node.children.items()})
    return inner | str | int | float | bool | list[Any] | None


def _struct(node: _Node, types: Mapping[str, Any], *, forbid_unknown_fields: bool = False) -> Any:
    fields = [(child.attribute, types[key], None) for key, child in node.children.items()]
    rename = {child.attribute: key for key, child in node.children.items()}
    return msgspec.defstruct(
        "Object", fields, rename=rename, kw_only=True, gc=False, forbid_unknown_fields=forbid_unknown_fields
    )
