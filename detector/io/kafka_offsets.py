"""Where a group stands: what it has committed, and where it begins where it has not.

Each question goes through a client of its own: on the member's connection it would wait behind a request to join, which
the broker holds back until the other members have come.

The answers are numbers, and the member is never told "beginning" or "end". Those it would have to ask for itself, and
librdkafka 2.16 asks once more when the answer comes after a pause or a seek; that second answer overrules the seek.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from detector.io.kafka_config import ConsumerGroup, Options
from detector.io.kafka_errors import SeldomLog
from detector.ports import NOT_COMMITTED, Committed, TopicPartition

ANSWER_TIMEOUT_S: Final = 5.0
"""One question about all new partitions."""

FIRST_POSITIONS: Final = {"earliest": OFFSET_BEGINNING, "latest": OFFSET_END, "error": OFFSET_BEGINNING}
"""Where partitions without a committed offset begin. With ``error`` nothing is read: the worker stops."""

Question = Callable[[Consumer], Sequence[ClientPartition]]


class GroupOffsets:
    """Asks for the offsets of ``group``; what cannot be answered is told to ``seldom``. May be used by any thread."""

    def __init__(self, options: Options, group: ConsumerGroup, seldom: SeldomLog) -> None:
        self._options = dict(options)
        self._first = FIRST_POSITIONS[group.offset_reset]
        self._seldom = seldom

    def committed(self, places: Sequence[TopicPartition], tries: int = 1) -> dict[TopicPartition, Committed] | None:
        """What the group has committed for each place; None without an answer."""
        asked = [ClientPartition(*place) for place in places]
        answers = self._ask(lambda client: client.committed(asked, timeout=ANSWER_TIMEOUT_S), len(asked), tries)
        if answers is None:
            return None
        return {
            TopicPartition(each.topic, each.partition): (
                Committed(each.offset, each.metadata or "") if each.offset >= 0 else NOT_COMMITTED
            )
            for each in answers
        }

    def first(self, places: Sequence[TopicPartition], tries: int = 1) -> Mapping[TopicPartition, int] | None:
        """The offset at which the group begins each place that it has never committed; None without an answer.

        The protocol's times -2 and -1 stand for the first and the next offset, and are the client's names for them.
        Source: Kafka's protocol guide, ListOffsets.
        """
        asked = [ClientPartition(*place, self._first) for place in places]
        answers = self._ask(lambda client: client.offsets_for_times(asked, timeout=ANSWER_TIMEOUT_S), len(asked), tries)
        if answers is None or any(each.offset < 0 for each in answers):
            return None
        return {TopicPartition(each.topic, each.partition): each.offset for each in answers}

    def _ask(self, question: Question, count: int, tries: int) -> Sequence[ClientPartition] | None:
        if not count:
            return []
        for _ in range(tries):
            client = Consumer(self._options, logger=logging.getLogger("detector.librdkafka"))
            try:
                answers = question(client)
            except KafkaException as error:
                self._seldom.warning(error.args[0])
                continue
            finally:
                client.close()
            faults = [each.error for each in answers if each.error is not None]
            if not faults:
                return answers
            self._seldom.warning(faults[0])
        return None
