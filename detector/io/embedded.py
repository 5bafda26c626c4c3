"""A broker inside this process: librdkafka's mock cluster, for demos and tests without Kafka.

Other processes can connect to it. Topics come into being with the first message to them, with four partitions each. Not
for claims about durability: it keeps the last 5 MiB of a partition, enforces no transactions and answers few admin
requests.
Source: librdkafka INTRODUCTION.md, "Mock cluster"; rdkafka_mock.c (partition count, replicas, retention).
"""

from typing import Final, Self

from confluent_kafka import Producer

PARTITIONS: Final = 4
"""Partitions of every topic that comes into being here; the client offers no option for it."""

START_TIMEOUT_S: Final = 10.0


class EmbeddedBroker:
    """A context manager; ``bootstrap_servers`` is valid inside it."""

    def __init__(self, *, brokers: int = 1) -> None:
        self._brokers = brokers
        self._host: Producer | None = None
        self.bootstrap_servers = ""

    def __enter__(self) -> Self:
        # The cluster lives in the client that was asked for it, and dies with it.
        self._host = Producer({"bootstrap.servers": "replaced", "test.mock.num.brokers": self._brokers, "log_level": 0})
        brokers = self._host.list_topics(timeout=START_TIMEOUT_S).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._host = None

    def create_topics(self, *names: str) -> None:
        """Bring topics into being before anybody writes to them, so that consumers may subscribe."""
        assert self._host is not None, "topics are created inside the context"
        for name in names:
            self._host.list_topics(name, timeout=START_TIMEOUT_S)
