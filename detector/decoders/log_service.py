"""Which service a line belongs to, as a key that is made once per distinct evidence and read without context.

The key of a service is its labels as a JSON object with sorted names, so the same service has the same key whatever
format told it, and pods of one service share it. Labels are those of the service alone, by the names of OpenTelemetry's
semantic conventions: never a pod, a container id or a process, which would begin a new history with every deploy. The
host names a service only where nothing else does.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from detector.batches import SeriesKey
from detector.decoders.decoder import LabelFault, NamedLabels
from detector.decoders.log_decoder import LOGS

LABEL_CHARACTERS_MAX: Final = 256
"""Of one label's value; the rest is cut off. Names in Kubernetes have at most 253."""
MEMO_BYTES_MAX: Final = 16 * 2**20
"""Of evidence remembered per decoder, the overhead of an entry included; a memo that is full is emptied."""
MEMO_ENTRY_BYTES: Final = 256

NAME, NAMESPACE, ENVIRONMENT, TENANT = "service.name", "service.namespace", "deployment.environment.name", "tenant"
K8S_NAMESPACE, HOST = "k8s.namespace.name", "host.name"

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(dict[str, str])
_UNIT: Final = re.compile(r"([^@]+)(?:@.*)?\.service")
"""systemd's ``name.service`` and ``name@instance.service``; scopes and slices have numbers of sessions in them."""

POD_LABELS: Final = ("app.kubernetes.io/name", "app_kubernetes_io/name", "app_kubernetes_io_name", "app", "k8s-app")
"""Recommended label of Kubernetes, as Beats and Loki write it, and the older habits."""
OWNERS: Final = ("deployment", "statefulset", "daemonset", "cronjob")
RESOURCE_NAMES: Final = (
    NAME,
    *(f"k8s.{owner}.name" for owner in OWNERS),
    "k8s.container.name",
    "container.name",
    "service_name",
    "function_name",
    "module_id",
    "container_name",
)
"""Attributes of OpenTelemetry's resources, then labels of Google's monitored resources."""
STREAM_NAMES: Final = ("service_name", "service", NAME, *POD_LABELS, "container", "container_name", "unit", "job")
"""Labels of Loki's streams."""

Labels = dict[str, str]
Told = TypeVar("Told")
Piece = bytes | msgspec.Raw
"""A piece of JSON text."""
ABSENT: Final = b""
"""Stands for a piece that is not there; no JSON text is empty."""


def service_key(labels: Mapping[str, str]) -> SeriesKey:
    """The key of the service with these labels; empty ones are left out."""
    kept = {name: _clean(value) for name, value in labels.items() if value}
    return LOGS, _ENCODER.encode(kept)


def key_or_none(labels: Labels | None) -> SeriesKey | None:
    """The key of a service that may be untold."""
    return None if labels is None else service_key(labels)


def default_key(service_default: str | None, topic: str) -> SeriesKey:
    """The key of records that do not tell their service: the one configured, else the topic's name."""
    return service_key({NAME: service_default or topic})


def labels_of(key: SeriesKey) -> NamedLabels | LabelFault:
    """The labels behind a key made by :func:`service_key`."""
    try:
        return NamedLabels(key[0], _DECODER.decode(key[1]))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return LabelFault("malformed", f"no key of a service: {error}"[:200])


class Columns(Protocol):
    """Points that have columns by place."""

    def column(self, points: Sequence[Any], place: str) -> list[Any]:
        """What stands at ``place`` in each point, None where nothing does."""

    def lacks(self, points: Sequence[Any], place: str) -> bool:
        """Whether it is known beforehand that nothing stands at ``place`` in any."""


class ServiceReader:
    """Keys of services from the places that tell them: each distinct evidence is read once.

    ``tiers`` are groups of places, the next looked at only where those before tell no service; ``surroundings`` are
    places of what a service runs in. Values of all of them are JSON text. The memo is a cache and changes no answer.
    """

    def __init__(self, columns: Columns, tiers: Sequence[Sequence[str]], surroundings: Sequence[str]) -> None:
        self._columns = columns
        self._tiers = [(*tier, *surroundings) for tier in tiers if tier]
        self._memo = EvidenceMemo(_told_key)

    def keys(self, points: Sequence[Any]) -> list[SeriesKey | None]:
        """The key of each point's service, None where it tells none."""
        keys: list[SeriesKey | None] = [None] * len(points)
        untold, rest = range(len(points)), points
        for tier in self._tiers:
            found = self._tier(rest, tier)
            if found is None:
                continue
            if len(rest) == len(points):
                keys = found
            else:
                for place, key in zip(untold, found, strict=True):
                    keys[place] = key
            if None not in found:
                break
            untold = [place for place, key in enumerate(keys) if key is None]  # type: ignore[assignment]  # any sequence
            rest = [points[place] for place in untold]
        return keys

    def _tier(self, points: Sequence[Any], places: Sequence[str]) -> list[SeriesKey | None] | None:
        """Keys by what stands at ``places``; None where nothing does in any point."""
        present: list[str] = []
        evidence: list[list[Piece]] = []
        for place in places:
            if self._columns.lacks(points, place):
                continue
            values = self._columns.column(points, place)
            absent = values.count(None)
            if absent == len(values):
                continue
            present.append(place)
            evidence.append([ABSENT if value is None else value for value in values] if absent else values)
        if not present:
            return None
        return self._memo.column(tuple(present), evidence)


class EvidenceMemo(Generic[Told]):
    """What named pieces of JSON text tell, by ``read``, once for each distinct evidence.

    Pieces are known by their texts with a NUL between them, which no JSON text has in it. The memo is a cache: it is
    bounded, and changes no answer.
    """

    def __init__(self, read: Callable[[Sequence[str], Sequence[bytes | None]], Told]) -> None:
        self._read = read
        self._memos: dict[tuple[str, ...], dict[bytes, Told]] = {}
        self._bytes = 0

    def column(self, names: tuple[str, ...], evidence: Sequence[Sequence[Piece]]) -> list[Told]:
        """What each row of ``evidence`` tells, which has a column for each of ``names``; ``ABSENT`` stands for none."""
        known = self._memos.setdefault(names, {})
        try:
            return list(map(known.__getitem__, map(b"\0".join, zip(*evidence, strict=True))))
        except KeyError:
            return [self.of(names, row) for row in zip(*evidence, strict=True)]

    def of(self, names: tuple[str, ...], row: Sequence[Piece]) -> Told:
        """What one row tells."""
        known = self._memos.setdefault(names, {})
        text = b"\0".join(row)
        if text in known:
            return known[text]
        told = self._read(names, [bytes(piece) or None for piece in row])
        self._bytes += MEMO_ENTRY_BYTES + len(text)
        if self._bytes > MEMO_BYTES_MAX:
            self._memos = {}
            self._bytes = 0
            known = self._memos.setdefault(names, {})
        known[text] = told
        return told


def resource_labels(attributes: Mapping[str, object]) -> Labels | None:
    """Labels of the service that a resource's attributes tell, or None."""
    labels: Labels = {}
    _take(labels, NAME, *(attributes.get(name) for name in RESOURCE_NAMES))
    _take(labels, NAMESPACE, attributes.get(NAMESPACE))
    _take(labels, ENVIRONMENT, attributes.get(ENVIRONMENT), attributes.get("deployment.environment"))
    _take(labels, K8S_NAMESPACE, attributes.get(K8S_NAMESPACE), attributes.get("namespace_name"))
    _take(labels, TENANT, attributes.get("tenant"), attributes.get("tenant.id"))
    if NAME not in labels:
        _take(labels, HOST, attributes.get(HOST))
    return labels if NAME in labels or HOST in labels else None


def stream_labels(stream: Mapping[str, object]) -> Labels | None:
    """Labels of the service that those of a Loki stream tell, or None."""
    labels: Labels = {}
    _take(labels, NAME, *(stream.get(name) for name in STREAM_NAMES))
    _take(labels, NAMESPACE, stream.get("service_namespace"))
    _take(labels, K8S_NAMESPACE, stream.get("namespace"), stream.get("k8s_namespace_name"))
    _take(labels, ENVIRONMENT, *(stream.get(n) for n in ("deployment_environment_name", "deployment_environment")))
    _take(labels, ENVIRONMENT, stream.get("env"), stream.get("environment"))
    _take(labels, TENANT, stream.get("tenant"), stream.get("__tenant_id__"))
    if NAME not in labels:
        _take(labels, HOST, *(stream.get(name) for name in ("host", "hostname", "instance")))
    return labels if NAME in labels or HOST in labels else None


def parsed(raw: bytes | None) -> Any:
    """The value of a piece of JSON text that went by unread; None where it is broken inside."""
    try:
        return msgspec.json.decode((raw or b"null").decode("utf-8", "replace"))
    except (msgspec.MsgspecError, RecursionError):
        return None


def text_of(value: object) -> str:
    """A label's text; empty where ``value`` is none."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64 else ""


def _take(labels: Labels, name: str, *values: object) -> None:
    """Set a label to the first of ``values`` that is one, unless it is there."""
    if name in labels:
        return
    found = next(filter(None, map(text_of, values)), "")
    if found:
        labels[name] = found


def _told(places: Sequence[str], row: Sequence[bytes | None]) -> Labels | None:
    """Labels from what stands at ``places``, those of earlier ones first; None without a service's name."""
    labels: Labels = {}
    for place, raw in zip(places, row, strict=True):
        value = parsed(raw)
        if value is not None:
            _RULES.get(place, _name)(labels, value)
    return labels if NAME in labels or HOST in labels else None


def _told_key(places: Sequence[str], row: Sequence[bytes | None]) -> SeriesKey | None:
    return key_or_none(_told(places, row))


def _inner(value: object, *path: str) -> object:
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _name(labels: Labels, value: object) -> None:
    """``service`` as text, or as the object of ECS."""
    _take(labels, NAME, value, _inner(value, "name"))
    _take(labels, NAMESPACE, _inner(value, "namespace"))
    _take(labels, ENVIRONMENT, _inner(value, "environment"))


def _container(labels: Labels, value: object) -> None:
    name = text_of(value) or text_of(_inner(value, "name"))
    _take(labels, NAME, name.removeprefix("/"))


def _unit(labels: Labels, value: object) -> None:
    found = _UNIT.fullmatch(text_of(value))
    if found is not None:
        _take(labels, NAME, found[1])


def _kubernetes(labels: Labels, value: object) -> None:
    """The object of Fluent Bit, Vector or Beats."""
    if not isinstance(value, dict):
        return
    for group in (value.get("labels"), value.get("pod_labels")):
        _take(labels, NAME, *(_inner(group, name) for name in POD_LABELS))
    _take(labels, NAME, *(_inner(value, owner, "name") for owner in OWNERS))
    _take(labels, NAME, value.get("container_name"), _inner(value, "container", "name"))
    namespaces = (value.get(name) for name in ("namespace_name", "pod_namespace", "namespace"))
    _take(labels, K8S_NAMESPACE, *namespaces, _inner(value, "namespace", "name"))


def _resource(labels: Labels, value: object) -> None:
    """A resource of OpenTelemetry's or Google's: its attributes inside, under ``attributes`` or under ``labels``."""
    for group in (_inner(value, "attributes"), _inner(value, "labels"), value):
        if isinstance(group, dict):
            for name, text in (resource_labels(group) or {}).items():
                _take(labels, name, text)


def _label(name: str, inner: str = "name") -> Callable[[Labels, object], None]:
    return lambda labels, value: _take(labels, name, value, _inner(value, inner))


_RULES: Final[dict[str, Callable[[Labels, object], None]]] = {
    "kubernetes": _kubernetes,
    "resource": _resource,
    "container_name": _container,
    "container": _container,
    "CONTAINER_NAME": _container,
    "_SYSTEMD_UNIT": _unit,
    "_SYSTEMD_USER_UNIT": _unit,
    "service\\.namespace": _label(NAMESPACE),
    **dict.fromkeys(
        ("service\\.environment", "deployment\\.environment", "deployment\\.environment\\.name"), _label(ENVIRONMENT)
    ),
    **dict.fromkeys(("env", "environment", "_environment"), _label(ENVIRONMENT)),
    **dict.fromkeys(("tenant", "tenant_id"), _label(TENANT, "id")),
    **dict.fromkeys(("host", "hostname", "_HOSTNAME", "host\\.name"), _label(HOST)),
}
"""What a place says; one that is not here names the service."""


def _clean(value: str) -> str:
    return value[:LABEL_CHARACTERS_MAX].encode("utf-8", "replace").decode()
