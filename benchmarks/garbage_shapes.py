"""Shapes of records that are wrong, or right but unusual, each with what should become of it.

A shape's reason is the one that a person would give, and ``samples`` are what is usable all the same, as in an array
with one bad item. Shapes of two records are halves that must not find together again.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Final, NamedTuple

from detector.batches import RejectReason

RECORD_BYTES_MAX: Final = 4_096
LABELS_MAX: Final = 64
AHEAD_MAX_MS: Final = 600_000
HUGE_BYTES: Final = 900_000
"""Near what a broker takes, so near what a dead letter may hold beside its own headers."""
HUGE_SHARE: Final = 0.02
"""Of oversized records; the others are a little or a few times too large."""

Values = Sequence[bytes | None]
Parts = Mapping[str, bytes | None]


class Draw(NamedTuple):
    """What a shape is made from; ``serial`` keeps its series apart from all others."""

    random: Random
    time_ms: int
    serial: int

    def point(self, **parts: bytes | None) -> bytes:
        """Give a good record whose ``parts`` are replaced by raw JSON, or left out where None."""
        point: dict[str, bytes | None] = {
            "name": b'"odd.%d"' % self.serial,
            "labels": b'{"service":"svc"}',
            "time": b"%d" % self.time_ms,
            "value": b"%.6f" % self.random.uniform(-9, 9),
        }
        point.update(parts)
        fields = (b'"%b":%b' % (part.encode(), raw) for part, raw in point.items() if raw is not None)
        return b"{%b}" % b",".join(fields)


class Shape(NamedTuple):
    """One kind of record: ``make`` gives ``records`` values that stand one after the other in a partition.

    ``reason`` is None for good ones. ``samples`` are found by the decoder, ``scored`` of them have usable labels.
    """

    reason: RejectReason | None
    make: Callable[[Draw], Values]
    samples: int = 0
    scored: int = 0
    records: int = 1


WHOLE: Final[Mapping[RejectReason, Values]] = {
    "empty": (None, b"", b" ", b"\n", b"\r\n\t ", b"[]", b" [\n] "),
    "wrong_type": (b"42", b'"text"', b"null", b"true", b"[1,2]", b"[[]]", b'["a",{}]', b"[null]"),
    "missing_field": (b"{}", b"[{}]", b'{"other":1}', b"{ \n }"),
    "invalid_json": (
        b"hello",
        b"{",
        b"}",
        b"}{",
        b"[",
        b"[{}",
        b"[" * 2_000,
        b"\x00\x00\x00\x00\x01\x0cbinary",
        b"\xff\xfe\xfd",
        b"\x00",
        b"{'name':'a'}",
        b"<metric/>",
        b"NaN NaN",
    ),
}
REPLACED: Final[Mapping[RejectReason, Sequence[Parts]]] = {
    "missing_field": (
        {"name": None},
        {"time": None},
        {"value": None},
        {"name": b"null"},
        {"time": b"null"},
        {"value": b"null"},
    ),
    "wrong_type": (
        {"value": b'"abc"'},
        {"value": b'""'},
        {"value": b'"0x1F"'},
        {"value": b'"1,5"'},
        {"value": b"true"},
        {"value": b"{}"},
        {"value": b"[1]"},
        {"name": b"7"},
        {"name": b'["a"]'},
        {"time": b"[1]"},
        {"time": b"[1,2]", "value": b"[1]"},
    ),
    "not_finite": (
        {"value": b"NaN"},
        {"value": b"Infinity"},
        {"value": b"-Infinity"},
        {"value": b'"NaN"'},
        {"value": b'"+Inf"'},
        {"value": b'"-infinity"'},
        {"value": b"1e999"},
        {"value": b"-1e999"},
        {"value": b"9" * 400},
        {"value": b'"1e999"'},
        {"time": b"NaN"},
    ),
    "time_unreadable": (
        {"time": b'"yesterday"'},
        {"time": b'""'},
        {"time": b"-1"},
        {"time": b"true"},
        {"time": b"{}"},
        {"time": b"1e30"},
        {"time": b"9223372036854775808"},
        {"time": b'"2025-13-45T00:00:00Z"'},
        {"time": b'"2500-01-01T00:00:00Z"'},
        {"time": b'"2025-01-01"'},
        {"time": b'"NaN"'},
    ),
    "empty": ({"time": b"[]", "value": b"[]"},),
    "invalid_json": (
        {"value": b"01"},
        {"value": b"1.5.2"},
        {"value": b"+1"},
        {"value": b"nan"},
        {"value": b"1,"},
        {"name": b'"\xff\xfe"'},
        {"name": b'"\xc3"'},
        {"name": b'"a\nb"'},
        {"name": b'"a}\n{b"'},
        {"name": b'"\\ud800"'},
        {"name": b'"\\x"'},
        {"labels": b'{"a":"}\n{"}'},
        {"labels": b'{"a":"\\ud800"}'},
        {"labels": b"{a:1}"},
        {"labels": b"{}}\n{{}"},
        {"labels": b"{"},
    ),
}
FAULTY_LABELS: Final[Mapping[RejectReason, Sequence[bytes]]] = {
    "wrong_type": (b"[1]", b'"text"', b"7", b'{"a":{"b":1}}', b'{"a":[1]}'),
    "invalid_json": (b'{"a":"\xff"}', b'{"\xc3":"a"}'),
}
"""Labels are parsed when their series is first seen: by then the decoder has counted a sample."""
GOOD: Final[Sequence[Parts]] = (
    {"value": b'"1.5"'},
    {"value": b"1e-400"},
    {"value": b"-0.0"},
    {"value": b"18446744073709551615"},
    {"value": b"123456789012345678901234567890"},
    {"labels": None},
    {"labels": b"null"},
    {"labels": b'{"a":1,"b":true,"c":null,"d":1.5}'},
    {"labels": b'{"a":"}\\n{"}'},
    {"other": b'[{"}{":["}\\n{"]},{}]'},
)


def _as_it_is(value: bytes | None, _draw: Draw) -> Values:
    return (value,)


def _with_parts(parts: Parts, draw: Draw) -> Values:
    return (draw.point(**parts),)


def _rfc3339(time_ms: int) -> bytes:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").encode()


# -- garbage that a table cannot hold --


def _cut_short(draw: Draw) -> Values:
    point = draw.point()
    return (point[: draw.random.randrange(1, len(point))],)


def _halves(draw: Draw) -> Values:
    point = draw.point()
    cut = draw.random.randrange(1, len(point))
    return point[:cut], point[cut:]


def _halves_that_look_whole(draw: Draw) -> Values:
    """Give two records that begin with ``{`` and end with ``}``, one value only when joined without a newline."""
    inside, outside = draw.point(labels=None).removesuffix(b"}"), b'{"a":"b"}}'
    return draw.random.choice(((inside + b',"labels":{}', outside), (b'{"name":"a}', b'{b",' + draw.point()[1:])))


def _two_on_one_line(draw: Draw) -> Values:
    return (draw.point() + draw.random.choice((b"", b" ", b",")) + draw.point(),)


def _two_on_two_lines(draw: Draw) -> Values:
    return (draw.point() + b"\n" + draw.point() + draw.random.choice((b"", b"\n")),)


def _two_beside_a_half(draw: Draw) -> Values:
    """Give three values' text in three records of which none is one: counting values must not be fooled."""
    return draw.point() + draw.point(), b'{"half":', draw.point() + b"}"


def _spoilt_ends(draw: Draw) -> Values:
    before, after = draw.random.choice(((b"", b"x"), (b"", b"\x00"), (b"\xef\xbb\xbf", b""), (b",", b""), (b"", b"}")))
    return (before + draw.point() + after,)


def _utf_16(draw: Draw) -> Values:
    return (draw.point().decode().encode("utf-16"),)


def _random_bytes(draw: Draw) -> Values:
    return (b"\x01" + draw.random.randbytes(draw.random.randrange(1, 400)),)


def _beside_a_good_one(parts: Parts, draw: Draw) -> Values:
    items = [draw.point(), draw.point(**parts)]
    draw.random.shuffle(items)
    return (b"[%b, %b]" % (items[0], items[1]),)


def _in_a_column(bad: bytes, draw: Draw) -> Values:
    times = b"[%d,%d,%d]" % (draw.time_ms, draw.time_ms + 1, draw.time_ms + 2)
    return (draw.point(time=times, value=b"[1,%b,2.5]" % bad),)


def _too_far_ahead(draw: Draw) -> Values:
    time_ms = draw.time_ms + AHEAD_MAX_MS + draw.random.choice((1, 1_000, 10**9, 10**11))
    whole_s = time_ms // 1000 + 1
    forms = (b"%d" % time_ms, b"%d" % whole_s, b"%d000" % time_ms, b"%d000000" % time_ms, b'"%b"' % _rfc3339(time_ms))
    return (draw.point(time=draw.random.choice(forms)),)


def _one_too_far_ahead(draw: Draw) -> Values:
    return _beside_a_good_one({"time": b"%d" % (draw.time_ms + AHEAD_MAX_MS + 1)}, draw)


def _too_large(draw: Draw) -> Values:
    size = RECORD_BYTES_MAX + draw.random.choice((1, 2, draw.random.randrange(1, 3 * RECORD_BYTES_MAX)))
    if draw.random.random() < HUGE_SHARE:
        size = HUGE_BYTES
    bare = draw.point(other=b'""')
    filled = bare.removesuffix(b'"}') + b"x" * (size - len(bare)) + b'"}'
    noise = b"\x01" + draw.random.randbytes(size - 1)
    return (draw.random.choice((bare.ljust(size), bare.rjust(size, b"\n"), filled, b"{" * size, noise)),)


def _labels(count: int) -> bytes:
    return b"{%b}" % b",".join(b'"l%d":"v"' % label for label in range(count))


def _too_many_labels(draw: Draw) -> Values:
    return (draw.point(labels=_labels(LABELS_MAX + draw.random.choice((1, 2, 100)))),)


# -- good ones that a table cannot hold --


def _pretty(draw: Draw) -> Values:
    return (draw.point().replace(b",", b",\n  ").replace(b"{", b"{\r\n ").replace(b"}", b"\n}\n"),)


def _three_in_an_array(draw: Draw) -> Values:
    return (b"[%b]" % b",\n".join(draw.point(time=b"%d" % (draw.time_ms + past)) for past in range(3)),)


def _at_the_limits(draw: Draw) -> Values:
    point = draw.point(labels=_labels(LABELS_MAX), time=b"%d" % (draw.time_ms + AHEAD_MAX_MS))
    return (point.ljust(RECORD_BYTES_MAX),)


def _as_text(draw: Draw) -> Values:
    return (draw.point(time=b'"%b"' % _rfc3339(draw.time_ms)),)


def _twice_a_field(draw: Draw) -> Values:
    return (draw.point().removesuffix(b"}") + b',"value":2}',)


TABLED: Final = (
    *(Shape(reason, partial(_as_it_is, value)) for reason, values in WHOLE.items() for value in values),
    *(Shape(reason, partial(_with_parts, parts)) for reason, many in REPLACED.items() for parts in many),
    *(
        Shape(reason, partial(_with_parts, {"labels": labels}), samples=1)
        for reason, many in FAULTY_LABELS.items()
        for labels in many
    ),
)
CRAFTED: Final = (
    Shape("invalid_json", _cut_short),
    Shape("invalid_json", _halves, records=2),
    Shape("invalid_json", _halves_that_look_whole, records=2),
    Shape("invalid_json", _two_on_one_line),
    Shape("invalid_json", _two_on_two_lines),
    Shape("invalid_json", _two_beside_a_half, records=3),
    Shape("invalid_json", _spoilt_ends),
    Shape("invalid_json", _utf_16),
    Shape("invalid_json", _random_bytes),
    Shape("missing_field", partial(_beside_a_good_one, {"value": None}), samples=1, scored=1),
    Shape("wrong_type", partial(_beside_a_good_one, {"value": b"[]"}), samples=1, scored=1),
    Shape("wrong_type", partial(_in_a_column, b"true"), samples=2, scored=2),
    Shape("not_finite", partial(_beside_a_good_one, {"value": b"NaN"}), samples=1, scored=1),
    Shape("not_finite", partial(_in_a_column, b"NaN"), samples=2, scored=2),
    Shape("not_finite", partial(_in_a_column, b'"Inf"'), samples=2, scored=2),
    Shape("time_unreadable", partial(_beside_a_good_one, {"time": b'"soon"'}), samples=1, scored=1),
    Shape("too_far_ahead", _too_far_ahead),
    Shape("too_far_ahead", _one_too_far_ahead, samples=1, scored=1),
    Shape("too_large", _too_large),
    Shape("too_many_labels", _too_many_labels, samples=1),
)
GARBAGE: Final[Sequence[Shape]] = TABLED + CRAFTED
ODD: Final[Sequence[Shape]] = (
    *(Shape(None, partial(_with_parts, parts), samples=1, scored=1) for parts in GOOD),
    Shape(None, _pretty, samples=1, scored=1),
    Shape(None, _at_the_limits, samples=1, scored=1),
    Shape(None, _as_text, samples=1, scored=1),
    Shape(None, _twice_a_field, samples=1, scored=1),
    Shape(None, _three_in_an_array, samples=3, scored=3),
    Shape(None, partial(_in_a_column, b'"7"'), samples=3, scored=3),
)
"""Good, but not the one line with plain numbers that the fast path wants."""
