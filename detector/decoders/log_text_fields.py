"""The table between the compiled scanner of text and the columns that are made of it: one row per line found."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.int64]
Table = NDArray[np.int64]

(
    RECORD,
    START,
    STOP,
    HEAD_START,
    HEAD_STOP,
    TIME,
    SEVERITY,
    PART,
    SERVICE_START,
    SERVICE_STOP,
    TRACE_START,
    TRACE_STOP,
    LEVEL_START,
    LEVEL_STOP,
    FLAGS,
) = range(15)
"""Columns: the record; where in the text of the batch the message lies, and what is kept before it; epoch milliseconds
or -1; class of severity; part; where the names of service, trace and level lie, empty where there are none."""
FIELDS: Final = 15

ESCAPED: Final = 1
"""Flag of a message in quotes that has escapes."""
JSON: Final = 2
"""Flag of a message that looks like an object of JSON."""
STDERR: Final = 4
LONG: Final = 8
"""Flag of a message of several lines."""

PLAIN, SYSLOG, CRI, LOGFMT = range(4)
"""What the scanner takes its text for."""

GOOD, EMPTY, TOO_LARGE, UNTIMED, YEARLESS, AHEAD, MALFORMED = range(7)
"""Faults of records."""
