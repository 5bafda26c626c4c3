"""Which service a line belongs to, as a key that is made once per distinct evidence and read without context.

The key of a service is its labels as a JSON object with sorted names, so the same service has the same key whatever
format told it, and pods of one service share it. Labels are those of the service alone, by the names of OpenTelemetry's
semantic conventions: never a pod, a container id or a process, which would begin a new history with every deploy.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from detector.batches import SeriesKey
from detector.decoders.decoder import LabelFault, NamedLabels
from detector.decoders.log_decoder import LOGS

LABEL_CHARACTERS_MAX: Final = 256
"""Of one label's value; the rest is cut off. Names in Kubernetes have at most 253."""

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(dict[str, str])


def service_key(labels: Mapping[str, str]) -> SeriesKey:
    """The key of the service with these labels; empty ones are left out."""
    kept = {name: _clean(value) for name, value in labels.items() if value}
    return LOGS, _ENCODER.encode(kept)


def default_key(service_default: str | None, topic: str) -> SeriesKey:
    """The key of records that do not tell their service: the one configured, else the topic's name."""
    return service_key({"service.name": service_default or topic})


def labels_of(key: SeriesKey) -> NamedLabels | LabelFault:
    """The labels behind a key made by :func:`service_key`."""
    try:
        return NamedLabels(key[0], _DECODER.decode(key[1]))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return LabelFault("malformed", f"no key of a service: {error}"[:200])


def _clean(value: str) -> str:
    return value[:LABEL_CHARACTERS_MAX].encode("utf-8", "replace").decode()
