r"""Where a JSON record keeps its name, labels, time and value, and the msgspec types made from that.

Paths are dotted (``metric.name``); a dot that belongs to a key is written ``\\.``. From four paths two struct types are
made: a *typed* one, which decodes good records at full speed, and a *loose* one with every leaf left raw, which finds
out what is wrong with a bad record. Unknown fields are skipped, not built.
"""

import re
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import msgspec

from detector.errors import UsageError

LEAVES: Final = ("name", "labels", "time", "value")
NUMBER_OR_TEXT = int | float | str
ONE_OR_MANY = int | float | str | list[NUMBER_OR_TEXT]
LEAF_TYPES: Final[dict[str, Any]] = {
    "name": str,
    "labels": msgspec.Raw,
    "time": ONE_OR_MANY,
    "value": ONE_OR_MANY,
}
NO_LABELS: Final = msgspec.Raw(b"{}")
ABSENT: Final = msgspec.Raw(b"")
"""Stands in a loose record for a field that the record does not have; no JSON text is empty."""


@dataclass(frozen=True, slots=True)
class JsonPaths:
    """Dotted paths of the four parts of a sample. ``name_default`` is the metric's name where a record carries none."""

    name: str = "name"
    labels: str = "labels"
    time: str = "time"
    value: str = "value"
    name_default: str | None = None


class PathTypes:
    """Struct types for one set of paths, and how to reach the leaves of their instances.

    Raises ``UsageError`` when a path is empty or one path lies inside another.
    """

    def __init__(self, paths: JsonPaths) -> None:
        routes = {leaf: _split(leaf, getattr(paths, leaf)) for leaf in LEAVES}
        defaults: dict[str, Any] = {"labels": NO_LABELS}
        if paths.name_default is not None:
            defaults["name"] = paths.name_default
        self.is_flat: Final = all(len(route) == 1 for route in routes.values())
        tree = _tree(routes)
        self.typed: Final[Any] = _struct("Point", tree, LEAF_TYPES, defaults)
        raw_types = dict.fromkeys(LEAVES, msgspec.Raw)
        self.loose: Final[Any] = _struct("LoosePoint", tree, raw_types, dict.fromkeys(LEAVES, ABSENT))
        places = {leaf: _attributes(routes[leaf], leaf) for leaf in LEAVES}
        self.leaf_getters: Final = {leaf: attrgetter(place) for leaf, place in places.items()}


def _split(leaf: str, path: str) -> tuple[str, ...]:
    parts = tuple(part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path))
    if not all(parts):
        raise UsageError(f"decoder.paths.{leaf}: {path!r} has an empty part")
    return parts


def _tree(routes: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Nest the routes: JSON key -> leaf name, or JSON key -> subtree."""
    tree: dict[str, Any] = {}
    for leaf, route in routes.items():
        node = tree
        for part in route[:-1]:
            node = node.setdefault(part, {})
            if isinstance(node, str):
                raise UsageError(f"decoder.paths.{leaf}: the path goes through the {node}, which is not an object")
        if route[-1] in node:
            raise UsageError(f"decoder.paths.{leaf}: two parts of a sample cannot share the path {'.'.join(route)!r}")
        node[route[-1]] = leaf
    return tree


def _attributes(route: tuple[str, ...], leaf: str) -> str:
    """Attribute path of a leaf: containers go by :func:`_container`."""
    return ".".join([*(_container(part) for part in route[:-1]), leaf])


def _container(key: str) -> str:
    """A Python attribute for a JSON key that holds an object; injective, and never a leaf's own name."""
    return "in_" + key.encode().hex()


def _struct(name: str, tree: dict[str, Any], types: dict[str, Any], defaults: dict[str, Any]) -> Any:
    """Build a struct for one level of the tree. A container is optional when everything in it is."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    rename: dict[str, str] = {}
    for key, node in tree.items():
        if isinstance(node, str):
            attribute = node
            field = (node, types[node], defaults[node]) if node in defaults else (node, types[node])
        else:
            attribute = _container(key)
            inner = _struct(f"{name}_{attribute}", node, types, defaults)
            optional = _leaves(node) <= set(defaults)
            field = (attribute, inner, msgspec.field(default_factory=inner)) if optional else (attribute, inner)
        fields.append(field)
        rename[attribute] = key
    return msgspec.defstruct(name, fields, rename=rename, kw_only=True, gc=False)


def _leaves(tree: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for node in tree.values():
        found |= {node} if isinstance(node, str) else _leaves(node)
    return found
