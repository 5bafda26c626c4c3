"""Named points of the worker's way, and how a process is told to end or stand still at one: see tests.kafka.faulty."""

import os
import sys
from typing import Final, Literal, NamedTuple

POINTS: Final = {
    "in_probe": "the probe has written its record and not taken it back",
    "after_init": "the producer is known to the coordinator, no transaction is open",
    "after_begin": "a transaction is open for the client alone",
    "after_first_send": "the first message of a transaction has reached its broker",
    "before_flush": "SIGTERM came, and what lingers is not flushed",
    "before_send_offsets": "all messages are acknowledged, the offsets are not sent",
    "after_send_offsets": "the group's coordinator holds offsets that are not committed",
    "before_commit": "the same, one call later",
    "after_commit": "the coordinator has committed, and the worker does not know",
    "in_abort": "the group refused the offsets, and the transaction is not aborted",
    "in_snapshot_chunks": "some chunks of a snapshot have reached their broker",
    "in_restore": "a chunk of a snapshot has been read",
    "in_replay": "some records were replayed",
    "in_revoke": "a partition is about to be handed over",
}
"""Named points, each with what is true there."""

CHUNK_BYTES: Final = 256
"""Of a snapshot, for points between chunks: a state of a few series makes dozens."""

LIFE_HEADER: Final = "test-life"

Signal = Literal["KILL", "STOP"]


class Fault(NamedTuple):
    """At which passage of which point the process gets which signal; without a point it only has small chunks.

    ``life`` marks what the process writes, in a header, so that aborted records tell whose they were.
    """

    point: str = ""
    passage: int = 1
    signal: Signal = "KILL"
    chunk_bytes: int = CHUNK_BYTES
    life: str = ""

    def environment(self) -> dict[str, str]:
        """Say it to a process."""
        return {
            "FAULT_POINT": self.point,
            "FAULT_COUNT": str(self.passage),
            "FAULT_SIGNAL": self.signal,
            "FAULT_CHUNK_BYTES": str(self.chunk_bytes),
            "FAULT_LIFE": self.life,
        }

    @staticmethod
    def of_environment() -> "Fault":
        """Read what we were told."""
        point, name = os.environ.get("FAULT_POINT", ""), os.environ.get("FAULT_SIGNAL", "KILL")
        if point and point not in POINTS:
            sys.exit(f"FAULT_POINT={point} is none of {', '.join(POINTS)}")
        return Fault(
            point,
            int(os.environ.get("FAULT_COUNT", "1")),
            "STOP" if name == "STOP" else "KILL",
            int(os.environ.get("FAULT_CHUNK_BYTES", str(CHUNK_BYTES))),
            os.environ.get("FAULT_LIFE", ""),
        )
