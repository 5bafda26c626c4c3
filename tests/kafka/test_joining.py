"""Under KIP-848 a broker without it stays silent, or refuses without naming a setting: both end a worker loudly."""

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import confluent_kafka
import pytest

from detector.errors import SourceFailedError
from detector.io import ConsumerGroup, EmbeddedBroker, KafkaConnection, KafkaSource
from tests.contracts.test_source_sink import Reader, until
from tests.kafka.broker import JarBroker, has_jars

CONSUMER_GROUP_HEARTBEAT: Final = 68
"""The request that makes a member under KIP-848. Source: Kafka's protocol guide, "API keys"."""


class OldBroker:
    """librdkafka's mock cluster in C, since only there an API can be taken away from it."""

    def __init__(self) -> None:
        (path,) = Path(confluent_kafka.__file__).parents[1].glob("confluent_kafka.libs/librdkafka*")
        self._lib = ctypes.CDLL(str(path))
        for name, result in (("conf_new", ctypes.c_void_p), ("new", ctypes.c_void_p)):
            getattr(self._lib, f"rd_kafka_{name}").restype = result
        self._lib.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        self._lib.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
        self._lib.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self._lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        self._lib.rd_kafka_mock_cluster_bootstraps.argtypes = [ctypes.c_void_p]
        self._lib.rd_kafka_mock_set_apiversion.argtypes = [ctypes.c_void_p, *[ctypes.c_int16] * 3]
        self._lib.rd_kafka_mock_cluster_destroy.argtypes = [ctypes.c_void_p]
        self._lib.rd_kafka_destroy.argtypes = [ctypes.c_void_p]
        self._client = self._lib.rd_kafka_new(0, self._lib.rd_kafka_conf_new(), None, 0)
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._client, 1)
        assert self._lib.rd_kafka_mock_set_apiversion(self._cluster, CONSUMER_GROUP_HEARTBEAT, -1, -1) == 0
        self.bootstrap_servers = self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def close(self) -> None:
        """End it with its client."""
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._client)


@pytest.fixture
def old_broker() -> Iterator[OldBroker]:
    broker = OldBroker()
    yield broker
    broker.close()


def member(bootstrap_servers: str, topic: str, join_timeout_s: float) -> KafkaSource:
    connection = KafkaConnection(bootstrap_servers, librdkafka={"log_level": 0})
    return KafkaSource(connection, ConsumerGroup("group", [topic], protocol="consumer", join_timeout_s=join_timeout_s))


@pytest.mark.chaos
def test_silence_ends_with_the_setting_that_helps(old_broker: OldBroker) -> None:
    source = member(old_broker.bootstrap_servers, "in", 2.0)
    with pytest.raises(SourceFailedError, match=r"brokers answer.*set kafka\.group_protocol: classic") as caught:
        until(lambda: False, Reader(source).turn)
    assert "\n" not in str(caught.value)
    source.close()


@pytest.mark.skipif(not has_jars(), reason="a broker with other settings needs the jars")
def test_a_refusal_ends_with_the_setting_that_helps() -> None:
    broker = JarBroker({"group.coordinator.rebalance.protocols": "classic"})
    try:
        broker.start()
        source = member(broker.bootstrap_servers, "in", 10.0)
        with pytest.raises(SourceFailedError, match=r"version not supported.*set kafka\.group_protocol: classic"):
            until(lambda: False, Reader(source).turn)
        source.close()
    finally:
        broker.remove()


def test_brokers_that_are_away_are_not_taken_for_old_ones() -> None:
    source = member("127.0.0.1:1", "in", 0.5)
    reader, end_s = Reader(source), time.monotonic() + 6.0
    until(lambda: time.monotonic() > end_s, reader.turn)
    assert reader.listener.assigned_count == 0
    source.close()


def test_a_mock_that_has_the_protocol_assigns() -> None:
    with EmbeddedBroker() as broker:
        broker.create_topics("in")
        source = member(broker.bootstrap_servers, "in", 0.5)
        reader = Reader(source)
        until(lambda: len(reader.listener.owned) > 0, reader.turn)
        source.close()
