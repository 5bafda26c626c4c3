"""librdkafka's codes, translated in one table: what each asks for, by where it was met.

``WAIT`` the client recovers by itself (or the next try does): say so and go on. ``STOP`` nothing in this process can
help: raise with the broker's words. A code that stands in no table waits where the client calls it retriable and stops
otherwise; a fatal error always stops.

Transactions know two more. ``ABORT`` gives up what the transaction holds and goes on from the last commit, with a new
producer. ``UNKNOWN``, for a commit only: it may or may not have happened; only a new process can read which. Their
table is in :mod:`detector.io.transaction_errors`.

Source: librdkafka INTRODUCTION.md, "Error handling" and "Transactional producer"; rdkafka.h, rd_kafka_resp_err_t;
KIP-98, KIP-447 and KIP-890 for what brokers mean by their codes.
"""

# ruff: noqa: SLF001  # the client's own error codes are written with a leading underscore

import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, Protocol

from confluent_kafka import KafkaError, KafkaException


class Reaction(Enum):
    """What an error asks for."""

    WAIT = "wait"
    STOP = "stop"
    ABORT = "abort"
    UNKNOWN = "unknown"


TRANSPORT: Final[frozenset[int]] = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._SSL,  # also raised by a broker that closes in the middle of a handshake
        KafkaError._TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError._IN_PROGRESS,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
    }
)
"""Brokers away, moving or slow: waited out for as long as it takes, never a reason to exit."""

REFUSED: Final[frozenset[int]] = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
"""Settings, ACLs or topics are wrong: only an operator can help."""

REBALANCING: Final[frozenset[int]] = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,
    }
)
"""The group has moved on; only a later poll, which brings ``lost`` or a new assignment, can help."""


OUT_OF_RANGE: Final[frozenset[int]] = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION})
"""The broker does not keep what should be read next; the client stops reading that partition and nothing else."""


def _table(wait: frozenset[int]) -> Mapping[int, Reaction]:
    return dict.fromkeys(wait, Reaction.WAIT) | dict.fromkeys(REFUSED, Reaction.STOP)


ON_FETCH: Final = _table(TRANSPORT | REBALANCING | {KafkaError._PARTITION_EOF, KafkaError._MAX_POLL_EXCEEDED})
"""Errors that arrive in place of a record, or through the client's error callback."""

ON_DELIVERY: Final = _table(TRANSPORT)
"""Errors of the producer as a whole; a message that failed is final whatever its code says."""

ON_COMMIT: Final = _table(TRANSPORT | REBALANCING)
"""Errors of a commit: WAIT means that a later commit may cover the same records."""


def reaction_to(error: KafkaError, table: Mapping[int, Reaction]) -> Reaction:
    """What ``error`` asks for, met where ``table`` applies."""
    if error.fatal():
        return Reaction.STOP
    known = table.get(error.code())
    if known is not None:
        return known
    return Reaction.WAIT if error.retriable() else Reaction.STOP


def words(error: KafkaError) -> str:
    """The broker's or client's own words, with the code's name to search for."""
    return f"{error.str()} ({error.name()})"


def error_of(call: Callable[[], object]) -> KafkaError | None:
    """Call; give the error that the client raised, if it did.

    A fatal error is raised out of any call that serves callbacks. A callback that is served after it in the same call
    runs into it: then it lies underneath a ``SystemError``, or is gone, and ``_FATAL`` is all that can be said.
    """
    try:
        call()
    except (KafkaException, SystemError) as exception:
        return _client_error(exception)
    return None


def _client_error(exception: BaseException) -> KafkaError:
    """Look for the client's error underneath.

    Tracebacks are cut off: the client never lets go of some of the exceptions that went through its callbacks, and with
    the frames of their tracebacks a producer and its threads would stay.
    """
    cause: BaseException | None = exception
    while cause is not None and not isinstance(cause, KafkaException):
        cause = cause.__cause__
    exception.__traceback__ = None
    if cause is None:
        return KafkaError(KafkaError._FATAL, str(exception), True)
    cause.__traceback__ = None
    error = cause.args[0]
    assert isinstance(error, KafkaError)
    return error


class WarningLog(Protocol):
    """The part of a structlog logger that is needed here."""

    def warning(self, event: str, **facts: object) -> object:
        """Write one line."""


class SeldomLog:
    """Writes each kind of error at most once per ``interval_s``, saying how many of it were left out since."""

    def __init__(
        self,
        log: WarningLog,
        event: str,
        *,
        interval_s: float = 30.0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._event = event
        self._interval_s = interval_s
        self._monotonic_s = monotonic_s
        self._written_s: dict[int, float] = {}
        self._left_out: dict[int, int] = {}

    def warning(self, error: KafkaError) -> None:
        """Write ``error``, unless its kind was written a moment ago."""
        code, moment_s = error.code(), self._monotonic_s()
        written_s = self._written_s.get(code)
        if written_s is not None and moment_s - written_s < self._interval_s:
            self._left_out[code] = self._left_out.get(code, 0) + 1
            return
        self._written_s[code] = moment_s
        self._log.warning(self._event, error=words(error), left_out=self._left_out.pop(code, 0))
