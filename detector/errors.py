"""Errors, named by the reaction they ask for.

Bad data is never an error (it is a ``Reject``); these are for settings, brokers and our own limits. ``UsageError`` ends
the process with exit code 2 and one line; the others end it with exit code 1, so that the orchestrator starts a new
one.
"""


class DetectorError(Exception):
    """Anything this package raises on purpose. The message is one sentence that an operator can act on."""

    exit_code: int = 1


class UsageError(DetectorError):
    """The settings, arguments or files given are wrong.

    Operator: correct what the message names; nothing was read or written.
    """

    exit_code = 2


class GateFailedError(DetectorError):
    """A check ran well and its answer is no.

    Operator: read the table above the message; the gate's limits are options of the same command.
    """

    exit_code = 3


class StopWorkerError(DetectorError):
    """The worker must stop without committing what is in flight; a new process reads it again.

    Operator: restart (an orchestrator does); if it repeats, the message says what the broker or the settings lack.
    """


class DeliveryFailedError(StopWorkerError):
    """A message could not be delivered within its time limit; its input offset stays uncommitted.

    Operator: look at the brokers, the topic's existence, its ``max.message.bytes`` and the ACLs named in the message.
    """


class RejectRatioError(StopWorkerError):
    """Too many records of a partition were rejected: the format or the paths are probably set wrongly.

    Operator: compare ``decoder`` settings with a record of the dead-letter topic; raise ``dead_letters.ratio_max`` only
    when such a share of bad records is really expected.
    """


class SourceFailedError(StopWorkerError):
    """The consumer met an error that it cannot recover from (authorisation, unknown topic, fatal client error).

    Operator: the message carries the broker's own words; mostly ACLs or a missing topic.
    """


class CommitPostponedError(StopWorkerError):
    """A commit got no usable answer in time, or came in the middle of a rebalance; nothing is known to be lost.

    At-least-once delivery carries on: the next commit covers the same records. Who cannot tolerate not knowing lets it
    stop the worker. Operator: nothing while it is rare; otherwise look at the group coordinator and the network.
    """


class OutcomeUnknownError(StopWorkerError):
    """A transaction's commit got no answer in time: what it held is delivered, or not; only a new start can tell.

    Operator: nothing while it is rare, the next start reads the truth; otherwise look at the transaction coordinator.
    """


class TransactionAbortedError(DetectorError):
    """Nothing sent since the last commit will be seen; the partitions are restored to it and go on from there.

    ``too_large`` names the topic that refused a message for its size. Operator: nothing while it is rare; otherwise the
    message carries the broker's words.
    """

    def __init__(self, reason: str, *, too_large: str | None = None) -> None:
        super().__init__(reason)
        self.too_large = too_large


class StateLostError(StopWorkerError):
    """A partition's models are gone and ``state.on_state_loss`` is ``fail``.

    Operator: the message says why, and which offsets the brokers keep where records are missing; set
    ``state.on_state_loss: cold_start`` to learn the partition anew.
    """


class StateUnavailableError(DetectorError):
    """The brokers gave no answer about snapshots or the input's beginning; the same is asked again.

    Operator: nothing while it is rare; otherwise look at the brokers and at the ACLs of the state topic.
    """


class SnapshotRefusedError(DetectorError):
    """A snapshot of model state cannot be used: harmed, of another version, or of another partition or cluster.

    Operator: the message says which; with `on_state_loss: cold_start` the partition is learnt anew.
    """
