r"""Records of several lines: which lines belong together, and what of them is mined.

A stack trace has as many lines as its program has calls, and says two things: what went wrong, and where. So the
message of such a record is its first line, the class of the exception at the root of it, and the topmost call within
the application, without its line number, which changes with every release.
"""

import re
from collections.abc import Sequence
from typing import Final

_CONTINUATION: Final = re.compile(rb"[ \t]|at |Caused by|Traceback")
_EXCEPTION: Final = re.compile(
    rb"(?:Caused by: |Exception in thread \"[^\"]*\" |Unhandled exception\. |Uncaught )?"
    rb"((?:[A-Za-z_$][\w$]*[.\\])*[A-Z][\w$]*(?:Exception|Error|Warning|Exit|Interrupt|Throwable|Failure))(?=:|$|\s*\r?$)"
)
"""``java.io.IOException: …``, ``Caused by: …``, ``ValueError: …``, ``System.InvalidOperationException: …``."""
_CALL: Final = re.compile(rb"\s*at (?:async )?(?:new )?([\w$.<>\[\]/@`]+)\s*\(")
"""``at com.acme.Shop.pay(Shop.java:42)``, ``at Shop.pay (/app/shop.js:3:9)``."""
_PYTHON_CALL: Final = re.compile(rb"\s+File \"([^\"]*?)([^\"/\\]*)\", line \d+, in ([\w<>]+)")
"""``  File "/app/shop.py", line 3, in pay``."""
_LIBRARY: Final = re.compile(
    rb"(?:java|javax|jdk|sun|com\.sun|jakarta|kotlin|kotlinx|scala|akka|clojure|reactor|io\.netty|io\.micrometer"
    rb"|org\.(?:springframework|apache|hibernate|eclipse|jboss|junit|postgresql)|com\.(?:zaxxer|fasterxml|mysql)"
    rb"|System|Microsoft|internal)[./:]"
)
_NODE_LIBRARY: Final = re.compile(rb"\((?:node:|[^)]*node_modules)")
_PYTHON_LIBRARY: Final = re.compile(rb"[/\\]lib[/\\]python|site-packages|dist-packages|<frozen ")
LINES_MAX: Final = 512
"""Lines of a record that are looked at; traces of endless recursion are longer."""


def continues(line: bytes, *, in_traceback: bool = False) -> bool:
    """Whether the line goes on with the record before it: it begins with a blank, a call, a cause or a traceback.

    ``in_traceback``: the record has begun a traceback of Python, so a line with the exception's class ends it.
    """
    return _CONTINUATION.match(line) is not None or (in_traceback and _EXCEPTION.match(line) is not None)


def message_of(lines: Sequence[bytes]) -> bytes:
    """What is mined of a record: its first line, and of a stack trace the exception's class and the call.

    The class is that of the last exception named, the root cause. The call is the topmost below it that is not known to
    be of a library; else such a call of an exception before it, else the topmost of all. Python names the innermost
    call last.
    """
    if not lines:
        return b""
    exception, topmost, own_call = b"", b"", b""
    found_below = False
    for line in lines[1:LINES_MAX]:
        named = _EXCEPTION.match(line)
        call = _CALL.match(line)
        python_call = _PYTHON_CALL.match(line)
        if named is not None:
            exception, found_below = named[1], False
        elif call is not None:
            topmost = topmost or call[1]
            if not found_below and _LIBRARY.match(call[1]) is None and _NODE_LIBRARY.search(line) is None:
                own_call, found_below = call[1], True
        elif python_call is not None and _PYTHON_LIBRARY.search(python_call[1] + python_call[2]) is None:
            own_call = python_call[2] + b":" + python_call[3]
    return b" ".join(filter(None, (lines[0].rstrip(), exception, own_call or topmost)))
