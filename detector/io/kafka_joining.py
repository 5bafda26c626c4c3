"""Whether the group has taken us in: asked under KIP-848, where a broker may answer with silence.

Under ``group.protocol=consumer`` a member hears nothing in two cases: the broker does not know the protocol (then it
hears nothing for ever), and there is no partition for it: the group has more members than partitions (then all is
well), or a topic does not exist. The list of groups with their types, and the description of the topics, tell them
apart. Nothing in here waits: answers are looked at when they have come.

A group's own description would say more, but librdkafka aborts the process when the coordinator that it asks for one
goes away (librdkafka issue 4605).
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final

import structlog
from confluent_kafka import ConsumerGroupState, ConsumerGroupType, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from detector.errors import SourceFailedError
from detector.io.kafka_config import ConsumerGroup, KafkaConnection
from detector.io.kafka_errors import REFUSED, SeldomLog, words

SILENCE_S: Final = 3.0
"""Before the first question; an assignment takes a few tenths of a second where partitions are free."""

ASK_EVERY_S: Final = 1.0

ANSWER_TIMEOUT_S: Final = 10.0
"""One question; without an answer until then it is asked anew."""

CANNOT_ANSWER: Final = frozenset({KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE})  # noqa: SLF001
"""Answers of brokers that are older than any list of groups with types."""

DESERTED: Final = frozenset({ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD})
"""States of a group that has no members."""

REMEDY: Final = (
    "Kafka before 4.0, or with group.version 0, has no such groups (KIP-848): upgrade the brokers, or set "
    "kafka.group_protocol: classic"
)


class JoinCheck:
    """Asks whether a group lives under the new protocol, and its topics exist, for as long as a member hears nothing.

    Brokers must deny it for the group's ``join_timeout_s`` before that is believed: a join takes a moment, and a
    coordinator that moves may forget the group for another.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        group: ConsumerGroup,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._group = group
        self._topics = [topic for topic in group.topics if not topic.startswith("^")]
        self._monotonic_s = monotonic_s
        self._ask_s = monotonic_s() + SILENCE_S
        self._denied_since_s: float | None = None
        self._client: AdminClient | None = None
        self._answer: Future[Any] | None = None
        self._topic_answers: Mapping[str, Future[Any]] = {}
        self._seldom = SeldomLog(structlog.get_logger(__name__), "consumer_error_waited")

    def turn(self) -> bool:
        """Whether the group lives, and no topic is missing.

        Raises ``SourceFailedError`` for a missing topic, and once brokers that answer have denied the group for long.
        """
        moment_s = self._monotonic_s()
        if self._answer is None:
            if moment_s >= self._ask_s:
                self._ask()
                self._ask_s = moment_s + ASK_EVERY_S
            return False
        if not all(answer.done() for answer in (self._answer, *self._topic_answers.values())):
            return False
        listed = self._listed(self._answer)
        self._answer = None
        if listed is not False:
            self._denied_since_s = None
            return listed is True and self._topics_exist()
        if self._denied_since_s is None:
            self._denied_since_s = moment_s
        elif moment_s - self._denied_since_s >= self._group.join_timeout_s:
            raise SourceFailedError(
                f"the brokers answer, but the group {self._group.group_id} does not live under "
                f"kafka.group_protocol: consumer. {REMEDY}"
            )
        return False

    def _ask(self) -> None:
        if self._client is None:  # kept: a client that is collected takes its requests with it
            self._client = AdminClient({**self._connection.admin_options(), "log_level": 0})
        self._answer = self._client.list_consumer_groups(request_timeout=ANSWER_TIMEOUT_S)
        if self._topics:
            topics = TopicCollection(self._topics)
            self._topic_answers = self._client.describe_topics(topics, request_timeout=ANSWER_TIMEOUT_S)

    def _listed(self, answer: Future[Any]) -> bool | None:
        """Whether the group stands in the list as it should; None where the list may not be whole."""
        try:
            listing = answer.result(0)
        except KafkaException as exception:
            self._seldom.warning(exception.args[0])
            return None
        for group in listing.valid:
            if group.group_id == self._group.group_id:
                return group.type is ConsumerGroupType.CONSUMER and group.state not in DESERTED
        for error in listing.errors:
            if error.code() not in CANNOT_ANSWER:
                self._seldom.warning(error)
                return None
        return False

    def _topics_exist(self) -> bool:
        """Whether all topics were described; a missing one is as wrong here as under the classic protocol."""
        for topic, answer in self._topic_answers.items():
            try:
                answer.result(0)
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                if error.code() in REFUSED:
                    raise SourceFailedError(f"the consumer cannot go on: topic {topic}: {words(error)}") from exception
                self._seldom.warning(error)
                return False
        return True
