"""What errors in a transaction ask for, in one table, by code.

A code may arrive in a message's report, from a call of the client, or as an exception out of serving callbacks; and
again from every later call, since the client then answers with the error of its state. So the code alone decides, and
the flags of the error only where no row names it. The rows are documentation, too: docs/decisions/0010-exactly-once.md
holds them as a table, and a test compares.

Source: librdkafka rdkafka_txnmgr.c and rdkafka_request.c (which errors are fatal, and which ask for an abort); KIP-98,
KIP-360, KIP-447 and KIP-890 for what brokers mean; every row was seen against librdkafka's mock cluster.
"""

# ruff: noqa: SLF001  # the client's own error codes are written with a leading underscore

from collections.abc import Mapping
from typing import Final, NamedTuple

from confluent_kafka import KafkaError

from detector.io.kafka_errors import REBALANCING, TRANSPORT, Reaction


class Row(NamedTuple):
    """Codes that ask for the same, ``where`` brokers answer with them, and why."""

    where: str
    codes: tuple[int, ...]
    reaction: Reaction
    why: str


ROWS: Final = (
    Row(
        "any request",
        tuple(sorted(TRANSPORT)),
        Reaction.WAIT,
        "Brokers are away, moving or slow. The client asks again, and so do we until the deadline of the call.",
    ),
    Row(
        "any request",
        (KafkaError.CONCURRENT_TRANSACTIONS,),
        Reaction.WAIT,
        "The coordinator is still ending an earlier transaction of ours.",
    ),
    Row(
        "any request",
        (
            KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError._AUTHENTICATION,
            KafkaError.SASL_AUTHENTICATION_FAILED,
        ),
        Reaction.STOP,
        "We may not do this; only an operator can change that.",
    ),
    Row(
        "any request",
        (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED),
        Reaction.STOP,
        "Somebody else has our transactional id, or our transaction took too long and was ended by the broker. Who "
        "went on under the id would fence the other again.",
    ),
    Row(
        "InitProducerId",
        (KafkaError.INVALID_TRANSACTION_TIMEOUT,),
        Reaction.STOP,
        "The broker's transaction.max.timeout.ms is below ours.",
    ),
    Row(
        "AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn",
        (KafkaError.INVALID_TXN_STATE,),
        Reaction.ABORT,
        "The coordinator counts otherwise. Fatal to this producer only: a new one begins a new count.",
    ),
    Row(
        "AddPartitionsToTxn, Produce, TxnOffsetCommit, EndTxn",
        (KafkaError.INVALID_PRODUCER_ID_MAPPING, KafkaError.UNKNOWN_PRODUCER_ID),
        Reaction.ABORT,
        "The coordinator or a leader has forgotten this producer; a new one gets a new epoch.",
    ),
    Row(
        "Produce",
        (KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,),
        Reaction.ABORT,
        "The leader counts otherwise. Fatal to this producer only.",
    ),
    Row(
        "AddPartitionsToTxn, Produce, EndTxn",
        (KafkaError.TRANSACTION_ABORTABLE,),
        Reaction.ABORT,
        "The broker itself asks for it (KIP-890).",
    ),
    Row(
        "Produce, or the client before it",
        (KafkaError.MSG_SIZE_TOO_LARGE,),
        Reaction.ABORT,
        "The topic is told to the worker, which makes dead letters smaller; for other topics it stops.",
    ),
    Row(
        "Metadata, AddPartitionsToTxn, TxnOffsetCommit",
        (
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError._UNKNOWN_TOPIC,
            KafkaError._UNKNOWN_PARTITION,
            KafkaError.TOPIC_EXCEPTION,
        ),
        Reaction.STOP,
        "The client has waited for the topic as long as it may; only an operator can create it.",
    ),
    Row(
        "Produce",
        (
            KafkaError.INVALID_RECORD,
            KafkaError.INVALID_TIMESTAMP,
            KafkaError.RECORD_LIST_TOO_LARGE,
            KafkaError.INVALID_REQUIRED_ACKS,
            KafkaError.POLICY_VIOLATION,
            KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
            KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        ),
        Reaction.STOP,
        "The topic's settings do not take what we send; the same messages would fail again.",
    ),
    Row(
        "the client",
        (KafkaError._MSG_TIMED_OUT,),
        Reaction.ABORT,
        "A message was not acknowledged in time. The next producer is ready only when brokers answer.",
    ),
    Row(
        "the client",
        (
            KafkaError._PURGE_QUEUE,
            KafkaError._PURGE_INFLIGHT,
            KafkaError._STATE,
            KafkaError._INCONSISTENT,
        ),
        Reaction.ABORT,
        "What follows from an earlier error. The client is asked for that one first, and it decides.",
    ),
    Row(
        "TxnOffsetCommit",
        tuple(sorted(REBALANCING)),
        Reaction.ABORT,
        "The group has moved on, and with it the partitions; a later poll says which.",
    ),
    Row(
        "TxnOffsetCommit",
        (KafkaError.FENCED_INSTANCE_ID,),
        Reaction.STOP,
        "Another process is this member of the group.",
    ),
    Row(
        "TxnOffsetCommit",
        (KafkaError.OFFSET_METADATA_TOO_LARGE, KafkaError.INVALID_COMMIT_OFFSET_SIZE),
        Reaction.STOP,
        "The broker's offset.metadata.max.bytes is too small for the pointer to a snapshot.",
    ),
)
"""Every row of the table; no code stands in two of them."""

IN_TRANSACTION: Final[Mapping[int, Reaction]] = {code: row.reaction for row in ROWS for code in row.codes}

CONSEQUENCES: Final = frozenset(
    {
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._STATE,
        KafkaError._INCONSISTENT,
        KafkaError._FATAL,
    }
)
"""Codes that only say that something else went wrong before."""


def reaction_in_transaction(error: KafkaError) -> Reaction:
    """What ``error`` of a call asks for: by the table, else by its flags; ``WAIT``: the same call again."""
    known = IN_TRANSACTION.get(error.code())
    if known is not None and known is not Reaction.WAIT:
        return known
    if error.fatal():
        return Reaction.STOP
    if error.txn_requires_abort():
        return Reaction.ABORT
    return Reaction.WAIT if known is not None or error.retriable() else Reaction.STOP


def reaction_to_commit(error: KafkaError) -> Reaction:
    """What ``error`` of a commit asks for: ``UNKNOWN`` unless a row, or the client, says that nothing was committed."""
    reaction = reaction_in_transaction(error)
    if reaction is Reaction.WAIT or error.fatal():
        return reaction
    listed = IN_TRANSACTION.get(error.code()) is reaction and error.code() != KafkaError._STATE
    return reaction if listed else Reaction.UNKNOWN


def reaction_to_undelivered(error: KafkaError) -> Reaction:
    """What a message that failed asks for: its report has no flags, and its transaction is lost in any case."""
    if error.code() == KafkaError._FATAL or IN_TRANSACTION.get(error.code()) is Reaction.STOP:
        return Reaction.STOP
    return Reaction.ABORT
