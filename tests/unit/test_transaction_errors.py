"""What the transactional sink does with every row of the table of errors, on librdkafka's mock cluster.

The mock answers as it is told, and checks producer ids and epochs. It keeps no transactions: an aborted record stays in
its log. So after an abort these tests see that a new producer was initialised, that its transaction commits, and that
what the broker refused is not in the log; that aborted records are not *shown* is for real Kafka to prove.
"""

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as ClientPartition

from detector.errors import DeliveryFailedError, OutcomeUnknownError, TransactionAbortedError
from detector.io import KafkaConnection, KafkaTransactionalSink
from detector.io.kafka_errors import Reaction
from detector.io.transaction_errors import (
    CONSEQUENCES,
    IN_TRANSACTION,
    ROWS,
    reaction_in_transaction,
    reaction_to_commit,
    reaction_to_undelivered,
)
from detector.ports import Committed, GroupMember, Message, Receipt, TopicPartition
from tests.mock_cluster import Api, MockCluster

ROOT: Final = Path(__file__).parents[2]
DECISION: Final = ROOT / "docs" / "decisions" / "0010-exactly-once.md"
PATIENCE_S: Final = 10.0
IN: Final = TopicPartition("in", 0)
OFFSETS: Final = {IN: Committed(5, "pointer")}
Case = tuple[Api, int]

WAITED: Final[tuple[Case, ...]] = (
    (Api.INIT_PRODUCER_ID, KafkaError.CONCURRENT_TRANSACTIONS),
    (Api.INIT_PRODUCER_ID, KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
    (Api.INIT_PRODUCER_ID, KafkaError.COORDINATOR_NOT_AVAILABLE),
    (Api.INIT_PRODUCER_ID, KafkaError.NOT_COORDINATOR),
    (Api.FIND_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE),
    (Api.ADD_PARTITIONS, KafkaError.CONCURRENT_TRANSACTIONS),
    (Api.ADD_PARTITIONS, KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
    (Api.ADD_PARTITIONS, KafkaError.COORDINATOR_NOT_AVAILABLE),
    (Api.ADD_PARTITIONS, KafkaError._TRANSPORT),
    (Api.PRODUCE, KafkaError.NOT_LEADER_FOR_PARTITION),
    (Api.PRODUCE, KafkaError.LEADER_NOT_AVAILABLE),
    (Api.PRODUCE, KafkaError.NOT_ENOUGH_REPLICAS),
    (Api.PRODUCE, KafkaError.REQUEST_TIMED_OUT),
    (Api.PRODUCE, KafkaError._TRANSPORT),
    (Api.ADD_OFFSETS, KafkaError.CONCURRENT_TRANSACTIONS),
    (Api.ADD_OFFSETS, KafkaError.COORDINATOR_NOT_AVAILABLE),
    (Api.ADD_OFFSETS, KafkaError._TRANSPORT),
    (Api.TXN_OFFSET_COMMIT, KafkaError.CONCURRENT_TRANSACTIONS),
    (Api.TXN_OFFSET_COMMIT, KafkaError.NOT_COORDINATOR),
    (Api.TXN_OFFSET_COMMIT, KafkaError.UNKNOWN_TOPIC_OR_PART),
    (Api.TXN_OFFSET_COMMIT, KafkaError._TRANSPORT),
    (Api.END_TXN, KafkaError.CONCURRENT_TRANSACTIONS),
    (Api.END_TXN, KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
    (Api.END_TXN, KafkaError.COORDINATOR_NOT_AVAILABLE),
    (Api.END_TXN, KafkaError.NOT_COORDINATOR),
    (Api.END_TXN, KafkaError._TRANSPORT),
)
"""Met once, and got over without a word to the worker."""

STOPPED: Final[tuple[Case, ...]] = (
    (Api.FIND_COORDINATOR, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    (Api.INIT_PRODUCER_ID, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    (Api.INIT_PRODUCER_ID, KafkaError.CLUSTER_AUTHORIZATION_FAILED),
    (Api.INIT_PRODUCER_ID, KafkaError.INVALID_TRANSACTION_TIMEOUT),
    (Api.INIT_PRODUCER_ID, KafkaError.PRODUCER_FENCED),
    (Api.INIT_PRODUCER_ID, KafkaError.INVALID_PRODUCER_EPOCH),
    (Api.ADD_PARTITIONS, KafkaError.TOPIC_AUTHORIZATION_FAILED),
    (Api.ADD_PARTITIONS, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    (Api.ADD_PARTITIONS, KafkaError.PRODUCER_FENCED),
    (Api.ADD_PARTITIONS, KafkaError.INVALID_PRODUCER_EPOCH),
    (Api.PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED),
    (Api.PRODUCE, KafkaError.CLUSTER_AUTHORIZATION_FAILED),
    (Api.PRODUCE, KafkaError.PRODUCER_FENCED),
    (Api.PRODUCE, KafkaError.INVALID_PRODUCER_EPOCH),
    (Api.PRODUCE, KafkaError.INVALID_RECORD),
    (Api.PRODUCE, KafkaError.INVALID_TIMESTAMP),
    (Api.PRODUCE, KafkaError.RECORD_LIST_TOO_LARGE),
    (Api.PRODUCE, KafkaError.INVALID_REQUIRED_ACKS),
    (Api.PRODUCE, KafkaError.POLICY_VIOLATION),
    (Api.PRODUCE, KafkaError.UNSUPPORTED_COMPRESSION_TYPE),
    (Api.PRODUCE, KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT),
    (Api.PRODUCE, KafkaError.TOPIC_EXCEPTION),
    (Api.ADD_OFFSETS, KafkaError.GROUP_AUTHORIZATION_FAILED),
    (Api.ADD_OFFSETS, KafkaError.PRODUCER_FENCED),
    (Api.ADD_OFFSETS, KafkaError.INVALID_PRODUCER_EPOCH),
    (Api.TXN_OFFSET_COMMIT, KafkaError.GROUP_AUTHORIZATION_FAILED),
    (Api.TXN_OFFSET_COMMIT, KafkaError.TOPIC_AUTHORIZATION_FAILED),
    (Api.TXN_OFFSET_COMMIT, KafkaError.FENCED_INSTANCE_ID),
    (Api.TXN_OFFSET_COMMIT, KafkaError.PRODUCER_FENCED),
    (Api.TXN_OFFSET_COMMIT, KafkaError.INVALID_PRODUCER_EPOCH),
    (Api.TXN_OFFSET_COMMIT, KafkaError.OFFSET_METADATA_TOO_LARGE),
    (Api.TXN_OFFSET_COMMIT, KafkaError.INVALID_COMMIT_OFFSET_SIZE),
    (Api.END_TXN, KafkaError.PRODUCER_FENCED),
    (Api.END_TXN, KafkaError.INVALID_PRODUCER_EPOCH),
    (Api.END_TXN, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
)

ABORTED: Final[tuple[Case, ...]] = (
    (Api.ADD_PARTITIONS, KafkaError.INVALID_TXN_STATE),
    (Api.ADD_PARTITIONS, KafkaError.INVALID_PRODUCER_ID_MAPPING),
    (Api.ADD_PARTITIONS, KafkaError.UNKNOWN_PRODUCER_ID),
    (Api.ADD_PARTITIONS, KafkaError.TRANSACTION_ABORTABLE),
    (Api.PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER),
    (Api.PRODUCE, KafkaError.UNKNOWN_PRODUCER_ID),
    (Api.PRODUCE, KafkaError.INVALID_PRODUCER_ID_MAPPING),
    (Api.PRODUCE, KafkaError.INVALID_TXN_STATE),
    (Api.PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE),
    (Api.PRODUCE, KafkaError.TRANSACTION_ABORTABLE),
    (Api.ADD_OFFSETS, KafkaError.INVALID_TXN_STATE),
    (Api.ADD_OFFSETS, KafkaError.INVALID_PRODUCER_ID_MAPPING),
    (Api.TXN_OFFSET_COMMIT, KafkaError.ILLEGAL_GENERATION),
    (Api.TXN_OFFSET_COMMIT, KafkaError.UNKNOWN_MEMBER_ID),
    (Api.TXN_OFFSET_COMMIT, KafkaError.REBALANCE_IN_PROGRESS),
    (Api.TXN_OFFSET_COMMIT, KafkaError.STALE_MEMBER_EPOCH),
    (Api.TXN_OFFSET_COMMIT, KafkaError.FENCED_MEMBER_EPOCH),
    (Api.TXN_OFFSET_COMMIT, KafkaError.INVALID_TXN_STATE),
    (Api.TXN_OFFSET_COMMIT, KafkaError.INVALID_PRODUCER_ID_MAPPING),
    (Api.END_TXN, KafkaError.INVALID_TXN_STATE),
    (Api.END_TXN, KafkaError.INVALID_PRODUCER_ID_MAPPING),
    (Api.END_TXN, KafkaError.UNKNOWN_PRODUCER_ID),
    (Api.END_TXN, KafkaError.TRANSACTION_ABORTABLE),
)

REFUSES_THE_RECORD: Final = {Api.ADD_PARTITIONS, Api.PRODUCE}
"""Errors of these come before the record is in the log."""

LATER_ONES: Final = {
    (Api.ADD_PARTITIONS, KafkaError.INVALID_TXN_STATE),
    (Api.PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER),
    (Api.TXN_OFFSET_COMMIT, KafkaError.ILLEGAL_GENERATION),
    (Api.END_TXN, KafkaError.UNKNOWN_PRODUCER_ID),
}
"""Met again in a producer's second transaction, where its sequence numbers and its coordinator's state are others."""


def name(case: object) -> str | None:
    if isinstance(case, tuple):
        return f"{case[0].name.lower()}-{KafkaError(case[1]).name()}"
    return None


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        cluster.create_topic("in")
        cluster.create_topic("out")
        yield cluster


class Stage:
    """One sink on a cluster, with time-outs for tests, and a member of the group."""

    def __init__(self, cluster: MockCluster, *, commit_timeout_s: float = 5.0, **options: str | float) -> None:
        self.cluster = cluster
        quick = {"reconnect.backoff.max.ms": 100, "socket.timeout.ms": 2_000, **options}
        self.sink = KafkaTransactionalSink(
            KafkaConnection(cluster.bootstrap_servers, librdkafka_producer=quick),
            transactional_id="detector-pod-0",
            call_timeout_s=0.3,
            commit_timeout_s=commit_timeout_s,
            abort_timeout_s=0.3,
        )

    def member(self) -> GroupMember:
        consumer = Consumer({"bootstrap.servers": self.cluster.bootstrap_servers, "group.id": "group", "log_level": 0})
        try:
            metadata: bytes = consumer.consumer_group_metadata()
            return metadata
        finally:
            consumer.close()

    def begin(self) -> None:
        """As the worker's loop does."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not self.sink.begin(0.5):
            assert time.monotonic() < deadline_s, "no producer came to be"

    def transact(self, value: bytes, topic: str = "out") -> None:
        """One message and an offset, in one transaction."""
        self.sink.send(Message(topic, None, value))
        self.sink.flush(PATIENCE_S)
        self.sink.commit(OFFSETS, self.member())

    def begin_and_transact(self, value: bytes) -> None:
        """A whole life."""
        self.begin()
        self.transact(value)

    def log(self, count: int) -> list[bytes]:
        """The first ``count`` records of the log, committed or not, and whatever comes right after them."""
        reader = Consumer(
            {
                "bootstrap.servers": self.cluster.bootstrap_servers,
                "group.id": "reader",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        values: list[bytes] = []
        try:
            reader.assign([ClientPartition("out", 0, 0)])
            deadline_s = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline_s:
                message = reader.poll(0.1)
                if message is None:
                    continue
                if message.error() is None:
                    values.append(message.value() or b"")
                elif len(values) >= count:
                    return values
        finally:
            reader.close()
        return values


@pytest.fixture
def stage(cluster: MockCluster) -> Iterator[Stage]:
    stage = Stage(cluster)
    yield stage
    stage.sink.close()


def threads() -> int:
    """Threads of this process, the clients' own included."""
    return len(list(Path("/proc/self/task").iterdir()))


def inject(stage: Stage, case: Case, *, second: bool = False) -> None:
    """Let one transaction pass or not, then be ready to meet the error."""
    api, code = case
    if api in {Api.INIT_PRODUCER_ID, Api.FIND_COORDINATOR}:
        stage.cluster.fail_next(api, code)
        return
    stage.begin()
    if second:
        stage.transact(b"before")
    stage.cluster.fail_next(api, code)


class TestTable:
    def test_no_code_stands_in_two_rows(self) -> None:
        assert sum(len(row.codes) for row in ROWS) == len(IN_TRANSACTION)

    def test_every_code_that_brokers_answer_with_is_met_below(self) -> None:
        met = {code for _, code in (*WAITED, *STOPPED, *ABORTED)}
        told_by_the_client_alone = {
            code for code in IN_TRANSACTION if KafkaError(code).name().startswith("_") and code not in met
        }
        never_for_requests_of_transactions = {
            KafkaError.SASL_AUTHENTICATION_FAILED,
            KafkaError.BROKER_NOT_AVAILABLE,
            KafkaError.NETWORK_EXCEPTION,
        }
        assert set(IN_TRANSACTION) - met - told_by_the_client_alone == never_for_requests_of_transactions

    def test_the_flags_decide_where_no_row_does(self) -> None:
        code = KafkaError.KAFKA_STORAGE_ERROR
        plain, fatal = KafkaError(code), KafkaError(code, "", True)
        retriable, abortable = KafkaError(code, "", False, True), KafkaError(code, "", False, False, True)
        in_call = [reaction_in_transaction(each) for each in (plain, fatal, retriable, abortable)]
        assert in_call == [Reaction.STOP, Reaction.STOP, Reaction.WAIT, Reaction.ABORT]
        in_commit = [reaction_to_commit(each) for each in (plain, fatal, retriable, abortable)]
        assert in_commit == [Reaction.UNKNOWN, Reaction.STOP, Reaction.WAIT, Reaction.UNKNOWN]

    def test_a_time_out_that_dooms_the_transaction_is_not_waited_for(self) -> None:
        error = KafkaError(KafkaError._TIMED_OUT, "", False, False, True)
        assert reaction_in_transaction(error) is Reaction.ABORT
        assert reaction_to_commit(error) is Reaction.UNKNOWN

    @pytest.mark.parametrize("code", sorted(IN_TRANSACTION))
    def test_a_message_that_failed_is_never_waited_for(self, code: int) -> None:
        expected = Reaction.STOP if IN_TRANSACTION[code] is Reaction.STOP else Reaction.ABORT
        assert reaction_to_undelivered(KafkaError(code)) is expected

    def test_consequences_alone_abort(self) -> None:
        listed = {reaction_to_undelivered(KafkaError(code)) for code in CONSEQUENCES - {KafkaError._FATAL}}
        assert listed == {Reaction.ABORT}

    def test_the_decision_holds_the_same_table(self) -> None:
        names = {row: ", ".join(f"`{KafkaError(code).name()}`" for code in row.codes) for row in ROWS}
        lines = [f"| {row.where} | {names[row]} | {row.reaction.value} | {row.why} |" for row in ROWS]
        written = [line for line in DECISION.read_text().splitlines() if line.startswith("|")]
        assert written[2 : 2 + len(lines)] == lines


@pytest.mark.parametrize("case", WAITED, ids=name)
def test_what_is_waited_for_passes_by_itself(stage: Stage, case: Case) -> None:
    inject(stage, case)
    stage.begin()
    stage.transact(b"one")
    assert stage.log(1) == [b"one"]


@pytest.mark.parametrize("case", STOPPED, ids=name)
def test_what_only_an_operator_can_cure_stops_and_no_producer_is_made_any_more(stage: Stage, case: Case) -> None:
    inject(stage, case)
    with pytest.raises(DeliveryFailedError, match=r"\((_FENCED|" + KafkaError(case[1]).name() + r")\)") as caught:
        stage.begin_and_transact(b"one")
    stage.sink.abort()
    stage.cluster.watch()
    for again in (lambda: stage.sink.begin(0.3), lambda: stage.sink.send(Message("out", None, b"two"))):
        with pytest.raises(DeliveryFailedError) as repeated:
            again()
        assert str(repeated.value) == str(caught.value)
    assert not {Api.INIT_PRODUCER_ID, Api.PRODUCE} & set(stage.cluster.watched())


@pytest.mark.parametrize(
    ("case", "second"),
    [*((case, False) for case in ABORTED), *((case, True) for case in ABORTED if case in LATER_ONES)],
    ids=name,
)
def test_what_costs_the_transaction_is_over_with_a_new_producer(stage: Stage, case: Case, second: bool) -> None:  # noqa: FBT001  # a parameter of the table
    inject(stage, case, second=second)
    with pytest.raises(TransactionAbortedError, match=KafkaError(case[1]).name()) as caught:
        stage.transact(b"lost")
    assert caught.value.too_large == ("out" if case[1] == KafkaError.MSG_SIZE_TOO_LARGE else None)
    stage.cluster.watch()
    stage.sink.abort()
    stage.begin()
    stage.transact(b"kept")
    # After some errors the client asks for a new epoch within the abort, too.
    assert stage.cluster.watched().count(Api.INIT_PRODUCER_ID) in {1, 2}
    expected = [b"before"] * second + [b"lost"] * (case[0] not in REFUSES_THE_RECORD) + [b"kept"]
    assert stage.log(len(expected)) == expected


@pytest.fixture
def hasty(cluster: MockCluster) -> Iterator[Stage]:
    stage = Stage(cluster, commit_timeout_s=1.2, **{"socket.timeout.ms": 500})
    yield stage
    stage.sink.close()


class TestTimeOuts:
    def test_a_coordinator_that_is_away_at_the_start_is_waited_for(self, stage: Stage) -> None:
        stage.cluster.take_down()
        assert [stage.sink.begin(0.2) for _ in range(3)] == [False, False, False]
        stage.cluster.bring_up()
        stage.begin()
        stage.transact(b"one")
        assert stage.log(1) == [b"one"]

    @pytest.mark.parametrize("trouble", ["slow", "away"])
    def test_a_commit_without_an_answer_has_an_unknown_outcome_and_is_not_undone(
        self, hasty: Stage, trouble: str
    ) -> None:
        hasty.begin()
        hasty.transact(b"one")
        hasty.sink.send(Message("out", None, b"two"))
        hasty.sink.flush(PATIENCE_S)
        if trouble == "slow":
            hasty.cluster.slow_down(5_000)
        else:
            hasty.cluster.take_down()
        began_s = time.monotonic()
        with pytest.raises(OutcomeUnknownError, match="not known"):
            hasty.sink.commit({}, hasty.member())
        hasty.cluster.watch()
        hasty.sink.close()
        assert time.monotonic() - began_s < 3
        with pytest.raises(OutcomeUnknownError):
            hasty.sink.begin(0.1)
        assert not {Api.END_TXN, Api.INIT_PRODUCER_ID} & set(hasty.cluster.watched())

    @pytest.mark.parametrize("code", [KafkaError.REQUEST_TIMED_OUT, KafkaError.UNKNOWN])
    def test_an_answer_to_a_commit_that_says_nothing_leaves_it_unknown(self, stage: Stage, code: int) -> None:
        stage.begin()
        stage.cluster.fail_next(Api.END_TXN, code)
        with pytest.raises(OutcomeUnknownError):
            stage.transact(b"one")

    @pytest.mark.parametrize("api", [Api.ADD_OFFSETS, Api.TXN_OFFSET_COMMIT])
    def test_offsets_without_an_answer_cost_the_transaction_only(self, hasty: Stage, api: Api) -> None:
        hasty.begin()
        hasty.cluster.fail_next(api, *[KafkaError.COORDINATOR_NOT_AVAILABLE] * 100)
        with pytest.raises(TransactionAbortedError):
            hasty.transact(b"lost")
        hasty.cluster.stop_failing(api)
        hasty.sink.abort()
        hasty.begin()
        hasty.transact(b"kept")
        assert hasty.log(2) == [b"lost", b"kept"]

    def test_offsets_for_a_broker_that_is_away_cost_the_transaction_in_time(self, hasty: Stage) -> None:
        hasty.begin()
        member = hasty.member()
        hasty.sink.send(Message("out", None, b"one"))
        hasty.sink.flush(PATIENCE_S)
        hasty.cluster.take_down()
        began_s = time.monotonic()
        with pytest.raises(TransactionAbortedError, match="no answer to the offsets"):
            hasty.sink.commit(OFFSETS, member)
        hasty.sink.abort()
        assert time.monotonic() - began_s < 4

    def test_messages_that_wait_too_long_cost_the_transaction_and_the_next_begins_when_the_broker_is_back(
        self, cluster: MockCluster
    ) -> None:
        stage = Stage(cluster, **{"message.timeout.ms": 300})
        stage.begin()
        cluster.take_down()
        stage.sink.send(Message("out", None, b"late"))
        with pytest.raises(TransactionAbortedError, match="_MSG_TIMED_OUT"):
            stage.sink.flush(PATIENCE_S)
        stage.sink.abort()
        assert not stage.sink.begin(0.2)
        cluster.bring_up()
        stage.begin()
        stage.transact(b"kept")
        assert stage.log(1) == [b"kept"]
        stage.sink.close()


class TestTopics:
    @pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED])
    def test_a_topic_that_is_not_there_or_not_ours_stops_with_its_name(self, cluster: MockCluster, code: int) -> None:
        cluster.fail_topic("nowhere", code)
        stage = Stage(cluster, **{"topic.metadata.propagation.max.ms": 100, "topic.metadata.refresh.interval.ms": 100})
        stage.begin()
        with pytest.raises(DeliveryFailedError, match="a message to nowhere was not delivered") as caught:
            stage.transact(b"one", "nowhere")
        assert KafkaError(code).name() in str(caught.value)
        stage.sink.close()

    def test_a_message_above_the_client_s_own_limit_names_its_topic(self, cluster: MockCluster) -> None:
        stage = Stage(cluster, **{"message.max.bytes": 2_000})
        stage.begin()
        with pytest.raises(TransactionAbortedError) as caught:
            stage.sink.send(Message("out", None, b"x" * 3_000))
        assert caught.value.too_large == "out"
        stage.sink.abort()
        stage.begin()
        stage.transact(b"kept")
        assert stage.log(1) == [b"kept"]
        stage.sink.close()


class TestEnds:
    def test_reports_of_an_ended_producer_reach_nobody(self, stage: Stage) -> None:
        receipts: list[Receipt] = []
        stage.begin()
        stage.cluster.slow_down(400)
        for _ in range(50):
            stage.sink.send(Message("out", None, b"given up"), receipts.append)
        stage.sink.poll(0.05)
        stage.sink.abort()
        stage.cluster.slow_down(0)
        assert (stage.sink.pending(), receipts) == (0, [])
        stage.begin()
        stage.sink.send(Message("out", None, b"kept"), receipts.append)
        stage.sink.flush(PATIENCE_S)
        assert [receipt.reason for receipt in receipts] == [""]

    @pytest.mark.parametrize("api", [Api.ADD_PARTITIONS, Api.END_TXN])
    def test_a_fatal_error_does_not_come_out_of_abort_or_close(self, stage: Stage, api: Api) -> None:
        stage.begin()
        stage.cluster.fail_next(api, KafkaError.INVALID_TXN_STATE)
        with pytest.raises(TransactionAbortedError):
            stage.transact(b"one")
        stage.sink.abort()
        stage.sink.close()

    def test_an_error_while_aborting_is_nobody_s_business(self, stage: Stage) -> None:
        stage.begin()
        stage.sink.send(Message("out", None, b"one"))
        stage.sink.flush(PATIENCE_S)
        stage.cluster.fail_next(Api.END_TXN, KafkaError.INVALID_TXN_STATE)
        stage.sink.abort()
        stage.begin()
        stage.transact(b"two")

    @pytest.mark.parametrize("end", ["at_once", "delivered", "fatal"])
    def test_an_ended_producer_s_threads_end_with_it(self, stage: Stage, end: str) -> None:
        """Without help of the garbage collector, whose next run may be hours away in a process with frozen objects."""

        def live() -> None:
            stage.begin()
            if end == "fatal":
                stage.cluster.fail_next(Api.PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
            stage.sink.send(Message("out", None, b"one"), lambda _receipt: None)
            if end == "delivered":
                stage.sink.flush(PATIENCE_S)
            if end == "fatal":
                with pytest.raises(TransactionAbortedError):
                    stage.sink.flush(PATIENCE_S)
            stage.sink.abort()

        live()
        gc.collect()
        gc.disable()
        try:
            before = threads()
            for _ in range(5):
                live()
            assert threads() <= before
        finally:
            gc.enable()
