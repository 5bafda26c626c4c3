"""Topics as they should be and as they are: created or checked through the admin client, told as findings."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from detector.errors import SourceFailedError
from detector.io.kafka_config import KafkaConnection
from detector.io.kafka_errors import words

BROKER_DEFAULT: Final = -1
"""Lets the broker choose partitions or replicas (its ``num.partitions`` and ``default.replication.factor``)."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic that should exist; ``settings`` are topic settings such as ``retention.ms``."""

    name: str
    partitions: int = BROKER_DEFAULT
    replicas: int = BROKER_DEFAULT
    settings: dict[str, str] = field(default_factory=dict)


FindingKind = Literal["created", "exists", "missing", "fewer_partitions", "refused"]


class TopicFinding(NamedTuple):
    """What was found or done about one topic; ``detail`` is a sentence for people."""

    topic: str
    kind: FindingKind
    detail: str

    @property
    def fine(self) -> bool:
        """Whether the worker can use the topic."""
        return self.kind in {"created", "exists"}


class Topics:
    """Creates and checks topics of one cluster. Raises ``SourceFailedError`` when no broker answers in time."""

    def __init__(self, connection: KafkaConnection, *, timeout_s: float = 15.0) -> None:
        # Kept for as long as a request runs: a client that is collected takes its requests with it.
        self._client = AdminClient({**connection.admin_options(), "log_level": 0})
        self._timeout_s = timeout_s

    def create(self, plans: Sequence[TopicPlan]) -> list[TopicFinding]:
        """Create what is missing; what exists is left as it is and checked."""
        existing = self.partition_counts()
        wanted = [plan for plan in plans if plan.name not in existing]
        done = {plan.name: self._create(plan) for plan in wanted}
        return [done.get(plan.name) or _compare(plan, existing) for plan in plans]

    def check(self, plans: Sequence[TopicPlan]) -> list[TopicFinding]:
        """Compare without changing anything."""
        existing = self.partition_counts()
        return [_compare(plan, existing) for plan in plans]

    def partition_counts(self) -> dict[str, int]:
        """Every visible topic with its number of partitions."""
        try:
            topics = self._client.list_topics(timeout=self._timeout_s).topics
        except KafkaException as error:
            raise SourceFailedError(f"topics cannot be listed: {words(error.args[0])}") from error
        return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}

    def _create(self, plan: TopicPlan) -> TopicFinding:
        topic = NewTopic(
            plan.name, num_partitions=plan.partitions, replication_factor=plan.replicas, config=plan.settings
        )
        future = self._client.create_topics([topic], operation_timeout=self._timeout_s)[plan.name]
        try:
            future.result(self._timeout_s)
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:  # somebody was faster
                return _compare(plan, self.partition_counts())
            return TopicFinding(plan.name, "refused", f"the broker refused to create it: {words(error)}")
        except TimeoutError:
            return TopicFinding(plan.name, "refused", f"no answer within {self._timeout_s:.0f} s")
        return TopicFinding(plan.name, "created", "created")


def _compare(plan: TopicPlan, existing: dict[str, int]) -> TopicFinding:
    count = existing.get(plan.name)
    if count is None:
        return TopicFinding(plan.name, "missing", "does not exist, or may not be described by this user")
    if count < plan.partitions:
        return TopicFinding(plan.name, "fewer_partitions", f"has {count} partitions, {plan.partitions} are planned")
    return TopicFinding(plan.name, "exists", f"exists with {count} partitions")
