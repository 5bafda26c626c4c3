"""From plain values to client options: one place where librdkafka's option names are written.

Order of precedence, the last wins: our defaults, the connection, pass-through options. Options that the delivery
guarantee rests on are ours alone; passing one of them through is a :class:`UsageError`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from detector.errors import UsageError

Option = str | int | float | bool
Options = Mapping[str, Option]

OWNED_OPTIONS: Final[Mapping[str, str]] = {
    "bootstrap.servers": "set kafka.bootstrap_servers",
    "metadata.broker.list": "set kafka.bootstrap_servers",
    "client.id": "set kafka.client_id",
    "group.id": "set kafka.group_id",
    "group.protocol": "set kafka.group_protocol",
    "auto.offset.reset": "set kafka.auto_offset_reset",
    "enable.auto.commit": "offsets are committed only after events are delivered",
    "auto.commit.enable": "offsets are committed only after events are delivered",
    "enable.auto.offset.store": "offsets are committed only after events are delivered",
    "enable.partition.eof": "the end of a partition is never read as a state",
    "enable.idempotence": "events are delivered once per try and in order",
    "acks": "an event counts as delivered when all in-sync replicas have it",
    "request.required.acks": "an event counts as delivered when all in-sync replicas have it",
    "transactional.id": "set kafka.transactional_id",
    "transaction.timeout.ms": "it belongs together with the time-outs of commits and messages",
    "delivery.report.only.error": "every delivery report is needed before its offset is committed",
}
"""Options that may not be passed through, each with its reason or remedy."""

QUEUE_KBYTES_MAX: Final = 65_536
"""Prefetched and unsent bytes, each; librdkafka's own limit for unsent ones is 1 GiB, more than most pods have."""

DEFAULTS: Final[Options] = {
    "socket.keepalive.enable": True,
    "log.connection.close": False,  # brokers close idle connections all the time
    "reconnect.backoff.max.ms": 5_000,  # half of the default: a broker that is back should be found soon
}

CONSUMER_DEFAULTS: Final[Options] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "allow.auto.create.topics": False,
    "partition.assignment.strategy": "cooperative-sticky",
    "queued.max.messages.kbytes": QUEUE_KBYTES_MAX,
    # Bytes bound the queue, and messages do not. Where it is full, fetching pauses: for a second by default, in which
    # records of a kilobyte run out. A loop that takes 8 us for each got 76,000 a second with it, and 110,000 with this.
    "queued.min.messages": 1_000_000,
    "fetch.queue.backoff.ms": 20,
    "fetch.max.bytes": 50_000_000,
    "max.partition.fetch.bytes": 10_000_000,
    # A commit waits for its answer; without this, up to a minute for a broker that has vanished.
    "socket.timeout.ms": 10_000,
}

PRODUCER_DEFAULTS: Final[Options] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 5,
    "compression.type": "lz4",
    # For ever: brokers that are away are waited out behind back-pressure; a refusal fails at once all the same.
    "message.timeout.ms": 0,
    "queue.buffering.max.kbytes": QUEUE_KBYTES_MAX,
    # Checked before compression; what a topic takes is the broker's decision.
    "message.max.bytes": 16_777_216,
}

TRANSACTION_TIMEOUT_S: Final = 20.0
"""After which the broker aborts an open transaction: what readers wait for at most when a worker dies without a
successor of its name. Brokers refuse more than ``transaction.max.timeout.ms`` (15 minutes)."""

TRANSACTION_SHARE: Final = 0.75
"""Of the transaction's time-out, for a message or a commit: we must have given up before the broker does."""

GroupProtocol = Literal["classic", "consumer"]

BROKER_SIDE_OPTIONS: Final[Mapping[str, str]] = {
    "partition.assignment.strategy": "group.consumer.assignors",
    "session.timeout.ms": "group.consumer.session.timeout.ms",
    "heartbeat.interval.ms": "group.consumer.heartbeat.interval.ms",
}
"""Decided by the broker under ``group.protocol=consumer`` (KIP-848), where the client refuses them; by which option."""


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """How to reach a cluster. Empty options are left to librdkafka; ``librdkafka*`` are passed through."""

    bootstrap_servers: str
    client_id: str = "detector"
    security_protocol: str = "plaintext"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_ca_location: str | None = None
    ssl_certificate_location: str | None = None
    ssl_key_location: str | None = None
    ssl_key_password: str | None = field(default=None, repr=False)
    librdkafka: Options = field(default_factory=dict, repr=False)
    librdkafka_consumer: Options = field(default_factory=dict, repr=False)
    librdkafka_producer: Options = field(default_factory=dict, repr=False)

    def admin_options(self) -> dict[str, Option]:
        """Options of an admin client."""
        return {**DEFAULTS, **self._own_options(), **_passed_through(self.librdkafka)}

    def producer_options(self) -> dict[str, Option]:
        """Options of the producer."""
        return {
            **DEFAULTS,
            **PRODUCER_DEFAULTS,
            **self._own_options(),
            **self._passed_to_producer(),
        }

    def transaction_options(self, transactional_id: str, timeout_s: float = TRANSACTION_TIMEOUT_S) -> dict[str, Option]:
        """Options of a transactional producer, whose transactions the broker aborts after ``timeout_s``."""
        timeout_ms = round(timeout_s * 1000)
        return {
            **self.producer_options(),
            # A message that takes longer than its transaction is lost with it; better to know before the broker does.
            "message.timeout.ms": round(TRANSACTION_SHARE * timeout_ms),
            # A coordinator that has vanished is asked again after this; without it, a call takes as long as a
            # transaction may.
            "socket.timeout.ms": min(5_000, timeout_ms // 2),
            **self._passed_to_producer(),
            "transactional.id": transactional_id,
            "transaction.timeout.ms": timeout_ms,
        }

    def consumer_options(self, group: "ConsumerGroup") -> dict[str, Option]:
        """Options of a consumer in ``group``."""
        passed = {**_passed_through(self.librdkafka), **_passed_through(self.librdkafka_consumer)}
        options = {**DEFAULTS, **CONSUMER_DEFAULTS, **self._own_options(), **group.options()}
        if group.protocol == "consumer":
            for name, decides in BROKER_SIDE_OPTIONS.items():
                if name in passed:
                    raise UsageError(
                        f"librdkafka option '{name}' cannot be passed through with kafka.group_protocol: consumer: "
                        f"there the brokers' {decides} decides; leave it out, or set kafka.group_protocol: classic"
                    )
                options.pop(name, None)
        return {**options, **passed}

    def _passed_to_producer(self) -> Options:
        return {**_passed_through(self.librdkafka), **_passed_through(self.librdkafka_producer)}

    def _own_options(self) -> dict[str, Option]:
        options: dict[str, Option | None] = {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": self.client_id,
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password,
            "ssl.ca.location": self.ssl_ca_location,
            "ssl.certificate.location": self.ssl_certificate_location,
            "ssl.key.location": self.ssl_key_location,
            "ssl.key.password": self.ssl_key_password,
        }
        return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ConsumerGroup:
    """Which topics are read, as member of which group.

    ``offset_reset`` says where partitions without a committed offset begin; ``"error"`` stops instead. ``protocol`` is
    how the group shares its partitions: decided by its members (``"classic"``), or by the broker (``"consumer"``,
    KIP-848), which then decides about ``session_timeout_ms``, too. ``commit_timeout_s`` bounds a commit with all its
    retries, ``join_timeout_s`` for how long brokers may deny the membership under the new protocol.
    """

    group_id: str
    topics: Sequence[str]
    offset_reset: Literal["earliest", "latest", "error"] = "earliest"
    session_timeout_ms: int = 10_000
    commit_timeout_s: float = 10.0
    protocol: GroupProtocol = "classic"
    join_timeout_s: float = 10.0

    def options(self) -> dict[str, Option]:
        """Options that make a client a member."""
        return {
            "group.id": self.group_id,
            "group.protocol": self.protocol,
            # The client never chooses an offset by itself: where records are missing, that has to be said.
            "auto.offset.reset": "error",
            "session.timeout.ms": self.session_timeout_ms,
            # A third, as brokers advise, and never so long that a rebalance waits for it.
            "heartbeat.interval.ms": max(1, min(3_000, self.session_timeout_ms // 3)),
        }


def _passed_through(options: Options) -> Options:
    for name in options:
        reason = OWNED_OPTIONS.get(name)
        if reason is not None:
            raise UsageError(f"librdkafka option '{name}' cannot be passed through: {reason}")
    return options
