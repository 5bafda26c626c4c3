"""What a partition that is bootstrapped would have said: kept as long as it may still have to be said."""

from collections import Counter

from detector.batches import Event, Output
from detector.worker.observer import BootstrapReport


class Untold:
    """The events of episodes that are open: of each its opening and its latest update.

    They are the very events that a worker would have sent that had always been live, so that what follows (updates, the
    close) follows from them. What closes was never told and is forgotten. At most as many episodes are open as the
    partition has series, times kinds.

    ``begin`` and ``end``: offsets of what is learnt; ``began_s``: when, on the monotonic clock.
    """

    def __init__(self, begin: int, end: int, began_s: float) -> None:
        self._records = 0
        self._rejected: Counter[str] = Counter()
        self._began_s = began_s
        self._begin = begin
        self._end = end
        self._open: dict[str, list[Event]] = {}

    def add(self, output: Output) -> float:
        """Take what came of a batch; gives the share, 0 to 1, of the offsets that is done."""
        self._records += output.counts.records
        self._rejected.update(reject.reason for reject in output.rejects)
        for event in output.events:
            if event.state == "closed":
                self._open.pop(event.episode, None)
            elif event.episode:
                self._open[event.episode] = [*self._open.get(event.episode, ())[:1], event]
        return min(1.0, (output.next_offset - self._begin) / max(1, self._end - self._begin))

    def report(self, moment_s: float) -> BootstrapReport:
        """What it came to, at the end."""
        states = Counter(event.state for event in self.events())
        seconds = moment_s - self._began_s
        return BootstrapReport("topic", self._records, self._rejected, states["opened"], states["updated"], seconds)

    def events(self) -> list[Event]:
        """What is to be said where the partition goes live: by episode, in the order of their openings."""
        return [event for events in self._open.values() for event in events]
