"""Formats whose records are requests that hold many lines each: what their decoders share."""

from abc import ABC, abstractmethod

import numpy as np

from detector.batches import RecordBatch, SeriesKey
from detector.decoders.decoder import LabelFault, NamedLabels
from detector.decoders.json_lines import Fault
from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_json_nested import NestedJson
from detector.decoders.log_lines import LineColumns, log_batch
from detector.decoders.log_service import default_key, labels_of
from detector.log_batches import LogBatch


class RequestsLogDecoder(ABC):
    """Opens the messages of the lines that a format finds, and finishes the batch."""

    name = ""

    def __init__(self, paths: LogPaths, limits: LogDecoderLimits) -> None:
        self._paths = paths
        self._limits = limits
        self._nested = NestedJson(paths, limits)

    def decode(self, batch: RecordBatch) -> LogBatch:
        """All lines and rejects of ``batch``."""
        faults: dict[int, Fault] = {}
        columns = self._found(batch, faults)
        self._nested.open(columns)
        count = len(np.unique(columns.rows))
        default = default_key(self._paths.service_default, batch.topic)
        formats = {self.name: count} if count else {}
        return log_batch(batch, columns, faults, self._limits, default, formats, in_pieces=bool(faults))

    def labels(self, key: SeriesKey) -> NamedLabels | LabelFault:
        """Labels of the service behind a key."""
        return labels_of(key)

    @abstractmethod
    def _found(self, batch: RecordBatch, faults: dict[int, Fault]) -> LineColumns:
        """The lines of all requests; ``faults`` gains one for each bad record."""
