"""Topics that should exist, by the settings."""

from collections.abc import Mapping
from typing import Final

from detector.io import TopicPlan
from detector.ports import TopicPartition
from detector.settings import Settings, input_topics, is_one_of

STATE_TOPIC_SETTINGS: Final = {
    "cleanup.policy": "compact",
    # Two workers may write one snapshot's keys when a partition moves; the loser's must not remove the winner's soon.
    "min.compaction.lag.ms": "600000",
    # The open segment is never compacted: a smaller one frees space sooner and shortens a search for snapshots.
    "segment.bytes": "67108864",
}


def planned_topics(
    settings: Settings, *, partitions: int, replicas: int, existing: Mapping[str, int] | None = None
) -> list[TopicPlan]:
    """Give the topics that should exist: those that are read by name, and those that are written.

    ``existing`` topics with their partition counts: snapshots need a partition for each of the widest input topic.
    """
    inputs = [TopicPlan(topic, partitions, replicas) for topic in input_topics(settings) if not topic.startswith("^")]
    outputs = [
        TopicPlan(settings.output.events_topic, partitions, replicas),
        TopicPlan(settings.output.dead_letters_topic, partitions, replicas),
    ]
    if not settings.state.enabled:
        return inputs + outputs
    widest = max((count for name, count in (existing or {}).items() if _is_read(settings, name)), default=partitions)
    state = TopicPlan(settings.output.state_topic, max(widest, partitions), replicas, dict(STATE_TOPIC_SETTINGS))
    return [*inputs, *outputs, state]


def input_partitions(settings: Settings, existing: Mapping[str, int]) -> list[TopicPartition]:
    """Give every partition that is read, of ``existing`` topics with their partition counts."""
    return [
        TopicPartition(name, partition)
        for name, count in sorted(existing.items())
        if _is_read(settings, name)
        for partition in range(count)
    ]


def _is_read(settings: Settings, name: str) -> bool:
    return is_one_of(name, input_topics(settings))
