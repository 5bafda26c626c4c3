"""Records of several lines: what joins them, and what of a stack trace is mined."""

import pytest

from detector.templates import continues, message_of
from detector.templates.messages import LINES_MAX

JAVA = b"""12:00:01 ERROR order 17 failed
java.util.concurrent.ExecutionException: wrapped
\tat java.base/java.util.concurrent.FutureTask.get(FutureTask.java:191)
\tat com.acme.shop.Orders.place(Orders.java:42)
Caused by: java.lang.IllegalStateException: no stock
\tat org.springframework.tx.Interceptor.invoke(Interceptor.java:1)
\tat com.acme.shop.Stock.take(Stock.java:9)
\tat com.acme.shop.Orders.place(Orders.java:40)
\t... 12 more"""
PYTHON = b"""ERROR could not pay
Traceback (most recent call last):
  File "/app/shop/views.py", line 3, in pay
    charge(card)
  File "/app/shop/cards.py", line 70, in charge
    json.loads(text)
  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads
    return decode(s)
json.decoder.JSONDecodeError: Expecting value"""
NODE = b"""request 12 failed
TypeError: x is not a function
    at Module._compile (node:internal/modules/cjs/loader:1105:14)
    at async Shop.pay (/app/shop.js:3:9)
    at handle (/app/server.js:10:1)"""
DOTNET = b"""fail: Shop[0]
System.InvalidOperationException: no stock
   at System.Linq.Enumerable.First[T](IEnumerable`1 source)
   at Acme.Shop.Stock.Take(Int32 count) in /src/Stock.cs:line 9"""
LIBRARY_ONLY = b"""closed
java.io.IOException: reset
\tat sun.nio.ch.Socket.read(Socket.java:1)
\tat io.netty.Channel.read(Channel.java:2)"""


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (JAVA, b"12:00:01 ERROR order 17 failed java.lang.IllegalStateException com.acme.shop.Stock.take"),
        (PYTHON, b"ERROR could not pay json.decoder.JSONDecodeError cards.py:charge"),
        (NODE, b"request 12 failed TypeError Shop.pay"),
        (DOTNET, b"fail: Shop[0] System.InvalidOperationException Acme.Shop.Stock.Take"),
        (LIBRARY_ONLY, b"closed java.io.IOException sun.nio.ch.Socket.read"),
        (b"one line \r", b"one line"),
        (b"pretty json {\n  'a': 1\n}", b"pretty json {"),
    ],
)
def test_the_first_line_the_root_cause_and_the_topmost_call_of_the_application(record: bytes, message: bytes) -> None:
    assert message_of(record.split(b"\n")) == message


def test_an_outer_call_of_the_application_serves_where_the_cause_has_none() -> None:
    lines = [
        b"failed",
        b"a.b.OuterError: x",
        b"\tat com.acme.A.go(A.java:1)",
        b"Caused by: a.b.InnerError",
        b"\tat java.B.x(B)",
    ]
    assert message_of(lines) == b"failed a.b.InnerError com.acme.A.go"


def test_no_lines_are_no_message() -> None:
    assert message_of([]) == b""


def test_endless_traces_are_looked_at_up_to_a_bound() -> None:
    calls = [b"\tat java.A.a(A.java:1)"] * LINES_MAX
    assert message_of([b"x", *calls, b"\tat com.acme.B.b(B.java:1)"]) == b"x java.A.a"


@pytest.mark.parametrize("record", [JAVA, PYTHON, NODE, DOTNET, LIBRARY_ONLY])
def test_all_but_the_class_behind_the_first_line_goes_on_with_it(record: bytes) -> None:
    lines = record.split(b"\n")
    assert not continues(lines[0])
    assert all(continues(line) for line in lines[2:-1])


@pytest.mark.parametrize(
    ("line", "goes_on"),
    [
        (b" at x", True),
        (b"\tat x", True),
        (b"at com.acme.A.go(A.java:1)", True),
        (b"Caused by: x", True),
        (b"Traceback (most recent call last):", True),
        (b"attached", False),
        (b"", False),
        (b"ValueError: x", False),
    ],
)
def test_what_goes_on_with_a_record(line: bytes, *, goes_on: bool) -> None:
    assert continues(line) == goes_on


def test_a_traceback_ends_with_the_class_of_its_exception() -> None:
    assert continues(b"ValueError: x", in_traceback=True)
    assert continues(b"shop.errors.OutOfStockError", in_traceback=True)
    assert not continues(b"INFO all is well", in_traceback=True)
