"""What an encoder is, and the facts it is told besides the transition."""

from typing import NamedTuple, Protocol

from detector.batches import Event, SeriesIdentity, Transition
from detector.log_batches import LogTransition


class Provenance(NamedTuple):
    """The input record behind a transition; ``record_timestamp_ms`` is the broker's, or ``TIMESTAMP_UNKNOWN``."""

    topic: str
    partition: int
    offset: int
    record_timestamp_ms: int


class ModelFacts(NamedTuple):
    """The learner behind a transition; ``chosen`` is the code that says why it is this one.

    ``peers`` says whether the score rests on what peers of the series have shown.
    """

    name: str
    version: int
    chosen: str
    peers: bool
    config_hash: str


class LogModelFacts(NamedTuple):
    """The signals behind a transition of log lines; ``window_length_ms`` is that of all windows."""

    name: str
    version: int
    window_length_ms: int
    config_hash: str


class Encoder(Protocol):
    """Turns transitions into messages.

    Called once per transition, in the order of the input. A law of every encoder: the event is a function of the
    arguments alone, so that a replay sends the same bytes, its key is the series' fingerprint, so that one series
    stays in order, and it names its episode, the same in all events of one.
    """

    content_type: str

    def encode(
        self,
        transition: Transition,
        identity: SeriesIdentity,
        policy_name: str,
        model: ModelFacts,
        provenance: Provenance,
    ) -> Event:
        """Encode one transition; never raises for values that a decoder lets through."""


class LogEncoder(Protocol):
    """Turns transitions of log lines into messages, by the law of :class:`Encoder`."""

    content_type: str

    def encode(
        self,
        transition: LogTransition,
        identity: SeriesIdentity,
        policy_name: str,
        model: LogModelFacts,
        provenance: Provenance,
    ) -> Event:
        """Encode one transition; never raises for values that the judge lets through."""
