"""Which topics the worker writes, and how its events are labelled."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """Names of the topics for events and for dead letters.

    ``event_content_type`` is the ``content-type`` header of every event, by which CloudEvents in structured mode are
    told.
    Source: CloudEvents 1.0.2, Kafka protocol binding, 3.3.1.
    """

    events: str
    dead_letters: str
    event_content_type: str = "application/cloudevents+json"
