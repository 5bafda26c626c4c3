"""Which series is this? Canonical identity, the table from keys to slots, eviction, and the order of time.

A slot is a dense index into the state arrays of one partition. The table is bounded twice, in series and in the raw
keys that lead to them; both bounds are counted when they bite. What is decided depends on the rows before, never on
batch cuts.
"""

from detector.series.identity import canonical_text, identify
from detector.series.order import admit, next_point
from detector.series.table import NO_SLOT, Fault, Routed, SeriesTable

__all__ = ["NO_SLOT", "Fault", "Routed", "SeriesTable", "admit", "canonical_text", "identify", "next_point"]
