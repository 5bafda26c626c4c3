"""The one name of a series: metric and sorted labels."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from detector.batches import SeriesIdentity

FINGERPRINT_BYTES: Final = 8
"""64 bits: with a million series the odds of any collision are 3 in 10^8 (birthday bound n^2 / 2^65)."""


def canonical_text(name: str, labels: Mapping[str, str]) -> str:
    """``name{a="1",b="2"}``: labels sorted by code point, quoted as JSON strings, empty values left out.

    An empty label equals an absent one, as in Prometheus' data model.
    """
    body = ",".join(
        f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in sorted(labels.items()) if value
    )
    return f"{name}{{{body}}}" if body else name


def identify(name: str, labels: Mapping[str, str]) -> SeriesIdentity:
    """Identity of the series with this metric name and these labels.

    >>> identify("cpu", {"host": "web-3", "cpu": "0"}).canonical
    'cpu{cpu="0",host="web-3"}'
    """
    text = canonical_text(name, labels)
    fingerprint = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=FINGERPRINT_BYTES).hexdigest()
    return SeriesIdentity(name, {label: value for label, value in sorted(labels.items()) if value}, text, fingerprint)
