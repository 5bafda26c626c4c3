"""Every limit of the loop, with the reason for its default."""

from dataclasses import dataclass
from typing import Literal

from detector.state import CHUNK_BYTES_MAX

OnStateLoss = Literal["cold_start", "fail"]


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How much, how long, how often.

    ``batch_records_max``: enough to make the cost per batch vanish, small enough that one batch takes tens of
    milliseconds.
    ``poll_timeout_s``: the longest that an idle loop does not look at its stop flag.
    ``commit_interval_s``: what a crash makes the group read again; each commit costs one round trip.
    ``pending_messages_max``: unacknowledged messages at which reading waits; a batch may add one per record to it.
    ``hold_after_s``: wait for acknowledgements before the partitions are paused; far below ``max.poll.interval.ms``.
    ``shutdown_timeout_s``: a graceful stop, wholly; below Kubernetes' grace period of 30 s.
    ``revoke_timeout_s``: flush and commit of partitions that another worker waits for.
    ``rejects_ratio_max``, ``rejects_window_records``: share of rejected records of a partition that stops the worker,
    and the number of its latest records over which the share is taken.
    ``dead_letter_bytes_max``: key, headers and value of a dead letter; below the 1,048,588 bytes that brokers take by
    default.
    ``on_gap``: what a partition does whose next records the brokers no longer keep: begin to learn anew where there
    are records again and say so, or stop.
    """

    batch_records_max: int = 2_000
    poll_timeout_s: float = 0.05
    commit_interval_s: float = 0.5
    pending_messages_max: int = 20_000
    hold_after_s: float = 10.0
    shutdown_timeout_s: float = 20.0
    revoke_timeout_s: float = 10.0
    rejects_ratio_max: float = 0.5
    rejects_window_records: int = 10_000
    dead_letter_bytes_max: int = 1_000_000
    on_gap: OnStateLoss = "cold_start"


@dataclass(frozen=True, slots=True)
class StateLimits:
    """How models are kept.

    ``interval_s``: between two snapshots of a partition, which is what a crash makes the next owner replay; each costs
    a copy of the state on the loop and its encoding beside it.
    ``on_state_loss``: learn anew and say so, or stop.
    ``retry_s``: between two questions to brokers that gave no answer.
    ``chunk_bytes_max``: of one message of a snapshot, which brokers must take.
    """

    interval_s: float = 90.0
    on_state_loss: OnStateLoss = "cold_start"
    retry_s: float = 1.0
    chunk_bytes_max: int = CHUNK_BYTES_MAX
