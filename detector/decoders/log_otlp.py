"""What OpenTelemetry's log records mean, however they came: JSON and protobuf share these rules.

Source: opentelemetry-proto, logs/v1/logs.proto, common/v1/common.proto. A body may be any value, of which text is the
message; the rest is rendered as JSON, whose own message is found when it is opened. A time may be 0, then the observed
time counts; a severity number may be 0, then its text counts.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

EXCEPTION_TRACE: Final = "exception.stacktrace"
"""Attribute of a record that holds a stack trace (semantic conventions for exceptions)."""
DEPTH_MAX: Final = 16
"""Of values within values; what lies deeper is left out."""
TRACE_BYTES: Final = 16
_NO_TRACE: Final = "0" * (2 * TRACE_BYTES)


def plain_value(value: object, depth: int = 0) -> Any:
    """What an ``AnyValue`` in JSON stands for: text, number, boolean, list or dict; None where it is empty.

    64-bit integers may be strings; bytes are base64, of which the text is shown where it is UTF-8.
    """
    if not isinstance(value, dict):
        return value
    kind, inner = next(iter(value.items()), ("", None))
    if depth > DEPTH_MAX or kind not in _READINGS:
        return None
    return _READINGS[kind](inner, depth)


def plain_attributes(attributes: object, depth: int = 0) -> dict[str, Any]:
    """Attributes in JSON, a list of keys and values, as a dict."""
    pairs: Iterable[Any] = attributes if isinstance(attributes, list) else ()
    return {
        one["key"]: plain_value(one.get("value"), depth)
        for one in pairs
        if isinstance(one, Mapping) and isinstance(one.get("key"), str)
    }


def hex_trace(value: object) -> str | None:
    """A trace id in hex, as OTLP's JSON has it, or base64, as protobuf's own mapping does; None without one."""
    if not isinstance(value, str) or not value:
        return None
    if len(value) == 2 * TRACE_BYTES:
        return value.lower() if value.strip("0") else None
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == TRACE_BYTES and any(raw) else None


def hex_traces(values: Sequence[object]) -> list[str | None]:
    """:func:`hex_trace` of each; at once where all are hex in small letters, as nearly always."""
    if set(map(type, values)) == {str}:
        texts = cast("Sequence[str]", values)
        whole = "".join(texts)
        if set(map(len, texts)) == {2 * TRACE_BYTES} and whole.isascii() and whole == whole.lower():
            return [None if text == _NO_TRACE else text for text in texts]
    return list(map(hex_trace, values))


def _list(value: object, field: str) -> list[Any]:
    inner = value.get(field) if isinstance(value, dict) else None
    return inner if isinstance(inner, list) else []


def _whole(value: object) -> Any:
    if isinstance(value, str) and len(value) <= 20 and value.removeprefix("-").isdecimal():  # noqa: PLR2004  # int64 has 19 digits
        return int(value)
    return value


def _text_of_bytes(value: object) -> Any:
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return value


_READINGS: Final[dict[str, Callable[[Any, int], Any]]] = {
    "stringValue": lambda inner, _: inner,
    "boolValue": lambda inner, _: inner,
    "doubleValue": lambda inner, _: inner,
    "intValue": lambda inner, _: _whole(inner),
    "bytesValue": lambda inner, _: _text_of_bytes(inner),
    "arrayValue": lambda inner, depth: [plain_value(one, depth + 1) for one in _list(inner, "values")],
    "kvlistValue": lambda inner, depth: plain_attributes(_list(inner, "values"), depth + 1),
}
