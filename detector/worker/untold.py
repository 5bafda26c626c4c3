"""What a partition that is bootstrapped would have said: kept as long as it may still have to be said."""

from collections import Counter

from detector.batches import Event, Output
from detector.worker.observer import BootstrapReport, BootstrapStage


class Untold:
    """One stage of a bootstrap: what was learnt, and the events of episodes that are open.

    Of each episode the opening and the latest update are kept, the very events that a worker would have sent that had
    always been live, so that what follows (updates, the close) follows from them. What closes was never told and is
    forgotten. At most as many episodes are open as the partition has series, times kinds.

    ``began_s``: when it began, on the monotonic clock.
    """

    def __init__(self, stage: BootstrapStage, began_s: float) -> None:
        self._records = 0
        self._stage: BootstrapStage = stage
        self._began_s = began_s
        self._rejected: Counter[str] = Counter()
        self._open: dict[str, list[Event]] = {}

    def add(self, output: Output, records: int) -> None:
        """Take what came of so many records."""
        self._records += records
        self._rejected.update(reject.reason for reject in output.rejects)
        for event in output.events:
            if event.state == "closed":
                self._open.pop(event.episode, None)
            elif event.episode:
                self._open[event.episode] = [*self._open.get(event.episode, ())[:1], event]

    def forget(self) -> None:
        """Nothing of it will be said."""
        self._open.clear()

    def events(self) -> list[Event]:
        """What is to be said where the partition goes live: by episode, in the order of their openings."""
        return [event for events in self._open.values() for event in events]

    def report(self, moment_s: float) -> BootstrapReport:
        """What it came to, at the end."""
        states = Counter(event.state for event in self.events())
        seconds = moment_s - self._began_s
        opened, updated = states["opened"], states["updated"]
        return BootstrapReport(self._stage, self._records, self._rejected, opened, updated, seconds)
