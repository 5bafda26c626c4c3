"""The start-up probe against brokers that keep no transactions, or answer with errors; and who is a group's member."""

import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from structlog.testing import capture_logs

from detector.errors import SourceFailedError, TransactionAbortedError
from detector.io import ConsumerGroup, KafkaConnection, KafkaSource, KafkaTransactionalSink
from detector.io.kafka_source import METADATA_MAGIC, is_member
from detector.io.transaction_probe import UNDECIDED_MAX, TransactionProbe
from tests.mock_cluster import Api, MockCluster

PATIENCE_S: Final = 10.0
STATE: Final = "detector.state"


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        cluster.create_topic(STATE)
        yield cluster


def connection(cluster: MockCluster) -> KafkaConnection:
    return KafkaConnection(cluster.bootstrap_servers, librdkafka={"reconnect.backoff.max.ms": 100})


def probe(cluster: MockCluster, topic: str = STATE) -> TransactionProbe:
    return TransactionProbe(connection(cluster), topic=topic, group_id="detector-probe", name="pod-0")


def sink(cluster: MockCluster, topic: str = STATE) -> KafkaTransactionalSink:
    return KafkaTransactionalSink(
        connection(cluster),
        transactional_id="detector-pod-0",
        probe=probe(cluster, topic),
        call_timeout_s=2.0,
        abort_timeout_s=0.3,
    )


def begin(sink: KafkaTransactionalSink) -> None:
    """As the worker's loop does, until it can work."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not sink.begin(0.5):
        assert time.monotonic() < deadline_s


class TestRefusal:
    def test_brokers_that_show_aborted_records_are_refused_in_one_line_with_the_remedy(
        self, cluster: MockCluster
    ) -> None:
        refused = sink(cluster)
        with pytest.raises(SourceFailedError, match="show an aborted record") as caught:
            begin(refused)
        assert "delivery.mode: at_least_once" in str(caught.value)
        assert "\n" not in str(caught.value)
        cluster.watch()
        with pytest.raises(SourceFailedError, match="show an aborted record"):
            refused.begin(0.5)
        assert Api.INIT_PRODUCER_ID not in cluster.watched()

    def test_a_state_topic_that_is_not_there_is_named(self, cluster: MockCluster) -> None:
        cluster.fail_topic("elsewhere", KafkaError.UNKNOWN_TOPIC_OR_PART)
        with pytest.raises(SourceFailedError, match=r"elsewhere cannot be used .* `detector topics create`"):
            begin(sink(cluster, "elsewhere"))

    @pytest.mark.parametrize(
        ("api", "code"),
        [
            (Api.PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE),
            (Api.PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED),
            (Api.ADD_PARTITIONS, KafkaError.TOPIC_AUTHORIZATION_FAILED),
        ],
    )
    def test_a_state_topic_that_takes_no_chunks_is_named_with_the_broker_s_words(
        self, cluster: MockCluster, api: Api, code: int
    ) -> None:
        cluster.fail_next(api, code)
        with pytest.raises(SourceFailedError, match=f"could not be written to {STATE}: .*{KafkaError(code).name()}"):
            begin(sink(cluster))

    @pytest.mark.parametrize("api", [Api.ADD_PARTITIONS, Api.PRODUCE])
    def test_a_producer_that_was_fenced_in_the_middle_is_told(self, cluster: MockCluster, api: Api) -> None:
        cluster.fail_next(api, KafkaError.INVALID_PRODUCER_EPOCH)
        with pytest.raises(SourceFailedError, match="_FENCED"):
            begin(sink(cluster))

    def test_a_transaction_that_is_aborted_is_tried_again_and_not_for_ever(self, cluster: MockCluster) -> None:
        cluster.fail_next(Api.PRODUCE, *[KafkaError.TRANSACTION_ABORTABLE] * 100)
        with capture_logs() as lines, pytest.raises(SourceFailedError, match=f"{UNDECIDED_MAX} times"):
            begin(sink(cluster))
        assert [line["event"] for line in lines].count("transactions_not_probed") == UNDECIDED_MAX - 1

    def test_a_broker_that_goes_away_is_no_refusal(self, cluster: MockCluster) -> None:
        waiting = sink(cluster)
        cluster.fail_next(Api.PRODUCE, KafkaError.TRANSACTION_ABORTABLE)
        with capture_logs() as lines:
            while "transactions_not_probed" not in [line["event"] for line in lines]:
                waiting.begin(0.5)
        cluster.take_down()
        assert not waiting.begin(0.3)
        cluster.bring_up()
        with pytest.raises(SourceFailedError, match="show an aborted record"):
            begin(waiting)


class TestOffsets:
    def commit_an_offset(self, cluster: MockCluster) -> None:
        """The second half alone: brokers that pass the first half are real ones."""
        producer = Producer(connection(cluster).transaction_options("detector-pod-0"))
        producer.init_transactions(PATIENCE_S)
        consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": "detector-probe"})
        try:
            probe(cluster)._commit_an_offset(producer, consumer, 2.0)
        finally:
            consumer.close()

    @pytest.mark.parametrize("api", [Api.ADD_OFFSETS, Api.TXN_OFFSET_COMMIT])
    def test_a_group_that_is_not_ours_is_left_out_with_a_warning(self, cluster: MockCluster, api: Api) -> None:
        cluster.fail_next(api, KafkaError.GROUP_AUTHORIZATION_FAILED)
        with capture_logs() as lines:
            self.commit_an_offset(cluster)
        (line,) = lines
        assert (line["event"], line["log_level"], line["group_id"]) == (
            "offsets_not_probed",
            "warning",
            "detector-probe",
        )
        assert "GROUP_AUTHORIZATION_FAILED" in line["reason"]

    def test_offsets_that_are_dropped_are_refused(self, cluster: MockCluster) -> None:
        with pytest.raises(SourceFailedError, match=r"do not keep offsets .*delivery\.mode: at_least_once"):
            self.commit_an_offset(cluster)

    def test_a_coordinator_without_an_answer_is_asked_again(self, cluster: MockCluster) -> None:
        cluster.fail_next(Api.TXN_OFFSET_COMMIT, *[KafkaError.ILLEGAL_GENERATION])
        with pytest.raises(TransactionAbortedError):
            self.commit_an_offset(cluster)


def metadata(generation: int, *rest: bytes) -> bytes:
    return METADATA_MAGIC + generation.to_bytes(4, sys.byteorder, signed=True) + b"\0".join(rest)


class Nobody:
    """Takes whatever partitions come."""

    def assigned(self, *_partitions: Any) -> None:
        """Read them."""

    def revoked(self, *_partitions: Any) -> None:
        """Hand over nothing."""

    def lost(self, *_partitions: Any) -> None:
        """Drop nothing."""

    def out_of_range(self, *_position: Any) -> None:
        """Miss nothing."""


class TestMembership:
    @pytest.mark.parametrize("generation", [0, 1, 7, 2**31 - 1])
    def test_a_generation_is_a_member_s(self, generation: int) -> None:
        assert is_member(metadata(generation, b"group", b"member", b""))

    @pytest.mark.parametrize("generation", [-1, -2, -(2**31)])
    def test_without_a_generation_one_is_nobody(self, generation: int) -> None:
        assert not is_member(metadata(generation, b"group", b"", b""))

    @pytest.mark.parametrize("unknown", [b"", b"CGMDv2:", b"CGMDv3:\xff\xff\xff\xff", b"CGMDv2", b"x" * 40])
    def test_a_form_that_is_not_known_counts_as_a_member_s(self, unknown: bytes) -> None:
        assert is_member(unknown)

    def test_a_real_consumer_is_nobody_before_it_has_joined(self, cluster: MockCluster) -> None:
        source = KafkaSource(connection(cluster), ConsumerGroup("group", [STATE]))
        source.subscribe(Nobody())
        with pytest.raises(TransactionAbortedError, match="no member"):
            source.member()
        deadline_s = time.monotonic() + PATIENCE_S
        joined = b""
        while not joined:
            source.fetch(1, 0.1)
            assert time.monotonic() < deadline_s
            try:
                joined = source.member()
            except TransactionAbortedError:
                continue
        assert joined.startswith(METADATA_MAGIC)
        assert int.from_bytes(joined[len(METADATA_MAGIC) :][:4], sys.byteorder, signed=True) >= 0
        source.close()
