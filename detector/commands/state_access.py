"""What the ``state`` commands look at: the group's input partitions, their offsets, and the snapshots."""

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from detector.commands.planned import input_partitions
from detector.errors import DetectorError, UsageError
from detector.io.kafka_groups import KafkaGroup
from detector.io.kafka_sink import KafkaSink
from detector.io.kafka_snapshots import KafkaSnapshotStore
from detector.io.topics import Topics
from detector.ports import Committed, OffsetRange, TopicPartition
from detector.settings import Settings, config_hash
from detector.wiring import connection_of, group_of
from detector.worker.outlook import Judging, Outlook, outlook

MEMBERS_SHOWN: Final = 5


class PartitionFacts(NamedTuple):
    """One partition: what it holds and what the group has committed."""

    place: TopicPartition
    extent: OffsetRange
    committed: Committed


class StateAccess:
    """Everything that one ``state`` command asks for. Raises ``UsageError`` without brokers or topics."""

    def __init__(self, settings: Settings) -> None:
        connection = connection_of(settings.kafka)
        self.group_id = group_of(settings).group_id
        self.group = KafkaGroup(connection, self.group_id)
        self.store = KafkaSnapshotStore(connection, topic=settings.output.state_topic, group_id=self.group_id)
        self.judging = Judging(partial(config_hash, settings), settings.state.river_objects)
        self._connection = connection
        self._places = input_partitions(settings, Topics(connection).partition_counts())

    def places(self) -> list[TopicPartition]:
        """Every partition that the group reads; raises ``UsageError`` where its topics do not exist."""
        if not self._places:
            raise UsageError(
                "none of kafka.topics and logs.topics exists on these brokers, or this user may not describe them"
            )
        return self._places

    def known(self, place: TopicPartition) -> TopicPartition:
        """``place``, if the group reads it; raises ``UsageError`` otherwise."""
        topics = sorted({each.topic for each in self.places()})
        if place.topic not in topics:
            raise UsageError(f"{place.topic} is not a topic that this group reads: {', '.join(topics)}")
        if place not in self._places:
            count = sum(each.topic == place.topic for each in self._places)
            raise UsageError(f"{place.topic} has no partition {place.partition}: it has {count}, from 0 on")
        return place

    def facts(self, places: Sequence[TopicPartition]) -> list[PartitionFacts]:
        """Offsets of each."""
        committed, extents = self.group.committed(places), self.group.extents(places)
        return [PartitionFacts(place, extents[place], committed[place]) for place in places]

    def outlook(self, facts: PartitionFacts) -> Outlook:
        """What a restore would do now."""
        return outlook(self.store, facts.place, facts.committed, facts.extent, self.judging)

    def sink(self) -> KafkaSink:
        """A producer."""
        return KafkaSink(self._connection)

    def require_empty(self) -> None:
        """Raise ``DetectorError`` that names the members while there are any: they would write over what we commit."""
        members = self.group.members()
        if members:
            named = ", ".join(members[:MEMBERS_SHOWN]) + (", …" if len(members) > MEMBERS_SHOWN else "")
            raise DetectorError(
                f"the group {self.group_id} has {len(members)} member(s), stop them first: {named} "
                "(one that was killed counts until kafka.session_timeout_ms is over)"
            )


def name_of(place: TopicPartition) -> str:
    """As a person writes it."""
    return f"{place.topic}[{place.partition}]"
