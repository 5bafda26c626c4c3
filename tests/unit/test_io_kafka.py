"""The parts of Kafka's io that need no broker: options, columns, the table of errors, seldom log lines."""

import random
from typing import Literal

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE, KafkaError, Message

from detector.batches import TIMESTAMP_UNKNOWN
from detector.errors import UsageError
from detector.io import ConsumerGroup, KafkaConnection, KafkaSink, KafkaSource
from detector.io.kafka_columns import RawMessage, record_batches
from detector.io.kafka_config import BROKER_SIDE_OPTIONS, OWNED_OPTIONS
from detector.io.kafka_errors import (
    ON_COMMIT,
    ON_FETCH,
    REBALANCING,
    REFUSED,
    TRANSPORT,
    Reaction,
    SeldomLog,
    reaction_to,
)

GROUP = ConsumerGroup("group", ["in"])


def message(offset: int, *, partition: int = 0, topic: str = "in", time_ms: int = 5) -> RawMessage:
    kind = TIMESTAMP_CREATE_TIME if time_ms >= 0 else TIMESTAMP_NOT_AVAILABLE
    value = b"%s/%d/%d" % (topic.encode(), partition, offset)
    return Message(topic, partition, offset, b"key-%d" % offset, value, [("h", b"%d" % offset)], None, (kind, time_ms))


class TestOptions:
    def test_pass_through_wins_over_defaults_and_the_consumer_s_own_over_the_common(self) -> None:
        connection = KafkaConnection(
            "b:1",
            librdkafka={"socket.timeout.ms": 1, "fetch.max.bytes": 2},
            librdkafka_consumer={"fetch.max.bytes": 3},
            librdkafka_producer={"linger.ms": 4},
        )
        consumer, producer = connection.consumer_options(GROUP), connection.producer_options()
        assert (consumer["socket.timeout.ms"], consumer["fetch.max.bytes"]) == (1, 3)
        assert (producer["socket.timeout.ms"], producer["linger.ms"]) == (1, 4)
        assert "linger.ms" not in consumer

    @pytest.mark.parametrize("name", OWNED_OPTIONS)
    def test_what_delivery_rests_on_cannot_be_passed_through(self, name: str) -> None:
        connection = KafkaConnection("b:1", librdkafka_consumer={name: "x"}, librdkafka_producer={name: "x"})
        with pytest.raises(UsageError, match=name):
            connection.consumer_options(GROUP)
        with pytest.raises(UsageError, match=name):
            connection.producer_options()

    def test_messages_end_before_their_transaction_does_unless_told_otherwise(self) -> None:
        options = KafkaConnection("b:1").transaction_options("id", 8.0)
        assert options["transactional.id"] == "id"
        assert (options["transaction.timeout.ms"], options["message.timeout.ms"]) == (8_000, 6_000)
        told = KafkaConnection("b:1", librdkafka_producer={"message.timeout.ms": 5_000})
        assert told.transaction_options("id", 8.0)["message.timeout.ms"] == 5_000

    def test_secrets_reach_the_client_and_never_a_representation(self) -> None:
        secret = "x" * 8
        connection = KafkaConnection("b:1", sasl_password=secret, librdkafka={"ssl.key.pem": secret})
        assert connection.admin_options()["sasl.password"] == secret
        assert secret not in repr(connection)

    def test_options_that_the_broker_decides_are_left_out_for_the_new_group_protocol(self) -> None:
        connection, group = KafkaConnection("b:1"), ConsumerGroup("group", ["in"], protocol="consumer")
        options = connection.consumer_options(group)
        assert options["group.protocol"] == "consumer"
        assert BROKER_SIDE_OPTIONS.keys().isdisjoint(options)
        assert BROKER_SIDE_OPTIONS.keys() <= connection.consumer_options(GROUP).keys()
        KafkaSource(connection, group).close()

    @pytest.mark.parametrize(("name", "decides"), BROKER_SIDE_OPTIONS.items())
    def test_options_that_the_broker_decides_cannot_be_passed_through_either(self, name: str, decides: str) -> None:
        connection = KafkaConnection("b:1", librdkafka_consumer={name: "1000"})
        assert connection.consumer_options(GROUP)[name] == "1000"
        with pytest.raises(UsageError, match=rf"{name}.*{decides}.*kafka\.group_protocol: classic"):
            connection.consumer_options(ConsumerGroup("group", ["in"], protocol="consumer"))

    @pytest.mark.parametrize("offset_reset", ["earliest", "latest", "error"])
    def test_the_client_never_chooses_an_offset(self, offset_reset: Literal["earliest", "latest", "error"]) -> None:
        group = ConsumerGroup("group", ["in"], offset_reset)
        assert KafkaConnection("b:1").consumer_options(group)["auto.offset.reset"] == "error"

    def test_an_unknown_option_is_a_usage_error_in_librdkafka_s_words(self) -> None:
        connection = KafkaConnection("b:1", librdkafka={"no.such.option": 1})
        with pytest.raises(UsageError, match=r"no\.such\.option"):
            KafkaSource(connection, GROUP)
        with pytest.raises(UsageError, match=r"no\.such\.option"):
            KafkaSink(connection)


class TestColumns:
    def test_a_run_of_one_partition_is_one_batch(self) -> None:
        (batch,) = record_batches([message(offset, time_ms=10 * offset) for offset in range(3, 8)])
        assert (batch.topic, batch.partition) == ("in", 0)
        assert batch.offsets.tolist() == [3, 4, 5, 6, 7]
        assert batch.timestamps_ms.tolist() == [30, 40, 50, 60, 70]
        assert batch.values[0] == b"in/0/3"
        assert batch.envelope(4).key == b"key-7"
        assert batch.envelope(4).headers == (("h", b"7"),)

    def test_gaps_in_the_offsets_are_kept(self) -> None:
        (batch,) = record_batches([message(offset) for offset in (1, 2, 7, 9)])
        assert batch.offsets.tolist() == [1, 2, 7, 9]

    def test_a_missing_timestamp_is_unknown_and_zero_is_a_time(self) -> None:
        (batch,) = record_batches([message(1, time_ms=0), message(2, time_ms=-1), message(3, time_ms=7)])
        assert batch.timestamps_ms.tolist() == [0, TIMESTAMP_UNKNOWN, 7]

    def test_nothing_gives_nothing(self) -> None:
        assert record_batches([]) == []

    @pytest.mark.parametrize("seed", range(20))
    def test_any_interleaving_gives_each_partition_its_records_in_order(self, seed: int) -> None:
        chance = random.Random(seed)
        places = [(topic, partition) for topic in ("in", "other") for partition in range(3)]
        expected: dict[tuple[str, int], list[int]] = {}
        messages = []
        for _ in range(200):
            topic, partition = place = chance.choice(places[: chance.randrange(1, len(places) + 1)])
            offsets = expected.setdefault(place, [])
            offsets.append((offsets[-1] if offsets else 100) + chance.choice([1, 1, 1, 3]))
            messages.append(message(offsets[-1], topic=topic, partition=partition))
        batches = record_batches(messages)
        assert {(batch.topic, batch.partition): batch.offsets.tolist() for batch in batches} == expected
        for batch in batches:
            prefix = f"{batch.topic}/{batch.partition}/"
            assert batch.values == [f"{prefix}{offset}".encode() for offset in batch.offsets]
            assert batch.envelope(0).key == b"key-%d" % batch.offsets[0]


class TestErrorTable:
    @pytest.mark.parametrize("code", sorted(TRANSPORT))
    def test_brokers_that_are_away_are_waited_for(self, code: int) -> None:
        assert reaction_to(KafkaError(code), ON_FETCH) is Reaction.WAIT
        assert reaction_to(KafkaError(code), ON_COMMIT) is Reaction.WAIT

    @pytest.mark.parametrize("code", sorted(REFUSED))
    def test_refusals_stop(self, code: int) -> None:
        assert reaction_to(KafkaError(code), ON_FETCH) is Reaction.STOP
        assert reaction_to(KafkaError(code), ON_COMMIT) is Reaction.STOP

    @pytest.mark.parametrize("code", sorted(REBALANCING))
    def test_a_commit_during_a_rebalance_is_made_up_for(self, code: int) -> None:
        assert reaction_to(KafkaError(code), ON_COMMIT) is Reaction.WAIT

    @pytest.mark.parametrize("code", sorted(TRANSPORT))
    def test_a_fatal_error_always_stops(self, code: int) -> None:
        assert reaction_to(KafkaError(code, "fatal", True), ON_FETCH) is Reaction.STOP

    def test_codes_in_no_table_wait_only_where_the_client_would_try_again(self) -> None:
        code = KafkaError.KAFKA_STORAGE_ERROR
        assert reaction_to(KafkaError(code, "", False, True), ON_FETCH) is Reaction.WAIT
        assert reaction_to(KafkaError(code, "", False, False), ON_FETCH) is Reaction.STOP


class Lines:
    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    def warning(self, event: str, **facts: object) -> None:
        self.lines.append({"event": event, **facts})


class TestSeldomLog:
    def test_repeats_each_kind_once_per_interval_and_counts_the_rest(self) -> None:
        lines, times = Lines(), iter([0.0, 1.0, 2.0, 3.0, 31.0])
        log = SeldomLog(lines, "waited", monotonic_s=lambda: next(times))
        down, timed_out = KafkaError(KafkaError._ALL_BROKERS_DOWN), KafkaError(KafkaError._TIMED_OUT)
        for error in (down, down, timed_out, down, down):
            log.warning(error)
        assert [line["left_out"] for line in lines.lines] == [0, 0, 2]
        assert str(lines.lines[1]["error"]).endswith("(_TIMED_OUT)")
