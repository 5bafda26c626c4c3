"""A consumer group from outside: who is in it, what it has committed, and its topics' offsets.

For commands, not for workers: nothing in here joins the group. Offsets are committed as by a client without membership,
which brokers take only while the group has no member, so that a worker that starts meanwhile makes the commit fail.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient

from detector.errors import DetectorError, StateUnavailableError
from detector.io.kafka_config import ConsumerGroup, KafkaConnection
from detector.io.kafka_errors import REBALANCING, words
from detector.ports import NOT_COMMITTED, Committed, OffsetRange, TopicPartition

ANSWER_TIMEOUT_S: Final = 15.0
"""One question to the brokers."""
END: Final = -1
"""How brokers say that no record is as young as the time asked for."""


class KafkaGroup:
    """The group ``group_id``. Every question raises ``StateUnavailableError`` when no broker answers it."""

    def __init__(self, connection: KafkaConnection, group_id: str) -> None:
        self._connection = connection
        self._group_id = group_id

    def members(self) -> list[str]:
        """Clients that are in the group at this moment, each as ``client (host)``; none where there is no group."""
        client = AdminClient({**self._connection.admin_options(), "log_level": 0})
        try:
            answer = client.describe_consumer_groups([self._group_id], request_timeout=ANSWER_TIMEOUT_S)
            described = answer[self._group_id].result(ANSWER_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return []
            raise StateUnavailableError(f"the group cannot be asked for: {words(error.args[0])}") from error
        except TimeoutError as error:
            raise StateUnavailableError("no answer about the group's members") from error
        return sorted(f"{member.client_id} ({member.host.removeprefix('/')})" for member in described.members)

    def committed(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """What the group has committed for each, once no transaction about it is open."""
        if not places:
            return {}
        with self._consumer("the group's offsets cannot be asked for") as consumer:
            answers = consumer.committed([ClientPartition(*place) for place in places], timeout=ANSWER_TIMEOUT_S)
        _check(answers, "the group's offsets cannot be asked for")
        return {
            TopicPartition(each.topic, each.partition): (
                Committed(each.offset, each.metadata or "") if each.offset >= 0 else NOT_COMMITTED
            )
            for each in answers
        }

    def extents(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, OffsetRange]:
        """First offset that each partition keeps, and its end."""
        found: dict[TopicPartition, OffsetRange] = {}
        with self._consumer("the input's offsets cannot be asked for") as consumer:
            for place in places:
                marks = consumer.get_watermark_offsets(ClientPartition(*place), timeout=ANSWER_TIMEOUT_S)
                if marks is None:
                    raise StateUnavailableError(f"no answer about the ends of {place.topic}[{place.partition}]")
                found[place] = OffsetRange(*marks)
        return found

    def offsets_at(self, extents: Mapping[TopicPartition, OffsetRange], time_ms: int) -> dict[TopicPartition, int]:
        """Offset of the first record with a broker timestamp of at least ``time_ms``; the end where there is none."""
        asked = [ClientPartition(*place, time_ms) for place in extents]
        with self._consumer("offsets by time cannot be asked for") as consumer:
            answers = consumer.offsets_for_times(asked, timeout=ANSWER_TIMEOUT_S)
        _check(answers, "offsets by time cannot be asked for")
        offsets = {TopicPartition(each.topic, each.partition): each.offset for each in answers}
        return {place: extent.end if offsets[place] == END else offsets[place] for place, extent in extents.items()}

    def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit all of these at once, then ask whether they are there. Raises ``DetectorError`` where they are not."""
        wanted = [ClientPartition(*place, each.offset, each.metadata) for place, each in offsets.items()]
        with self._consumer("the offsets were not committed") as consumer:
            try:
                answers = consumer.commit(offsets=wanted, asynchronous=False) or []
            except KafkaException as error:
                if error.args[0].code() in REBALANCING:
                    raise DetectorError(
                        f"the offsets were not committed: the group {self._group_id} has a member again; stop it first"
                    ) from error
                raise
        _check(answers, "the offsets were not committed")
        if self.committed(list(offsets)) != dict(offsets):
            raise DetectorError("the offsets were changed by somebody else at the same moment; look with `state ls`")

    @contextmanager
    def _consumer(self, what: str) -> Iterator[Consumer]:
        """Give a consumer that never joins."""
        group = ConsumerGroup(self._group_id, [], offset_reset="error")
        options = self._connection.consumer_options(group)
        consumer = Consumer(options, logger=logging.getLogger("detector.librdkafka"))
        try:
            yield consumer
        except KafkaException as error:
            raise StateUnavailableError(f"{what}: {words(error.args[0])}") from error
        finally:
            consumer.close()


def _check(answers: Sequence[ClientPartition], what: str) -> None:
    fault = next((each.error for each in answers if each.error is not None), None)
    if fault is not None:
        raise StateUnavailableError(f"{what}: {words(fault)}")
