"""What a time zone is ahead of UTC, and when that changes: read once from the zone database, for cores without I/O."""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from detector.errors import UsageError

FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""Changes outside are not known: before and after them the nearest offset holds."""
STEP: Final = timedelta(days=1)
SECOND: Final = timedelta(seconds=1)


class ZoneChanges(NamedTuple):
    """``offsets_ms[i + 1]`` holds from the epoch time ``changes_ms[i]`` on, ``offsets_ms[0]`` before them all."""

    changes_ms: tuple[int, ...]
    offsets_ms: tuple[int, ...]


@cache
def zone_changes(name: str) -> ZoneChanges:
    """Every change of the IANA zone ``name`` from 1970 to 2100. Raises ``UsageError`` for a name nobody knows."""
    try:
        zone = ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise UsageError(
            f"timezone: there is no zone {name!r} here; give an IANA name such as Europe/Berlin, and install the "
            "package tzdata where the system has no zones"
        ) from error
    changes: list[int] = []
    moment, offset = FIRST, _offset(zone, FIRST)
    offsets = [_ms(offset)]
    while moment < LAST:
        following = moment + STEP
        if _offset(zone, following) != offset:
            change = _change(zone, moment, following)
            offset = _offset(zone, change)
            changes.append(_ms(change - FIRST))
            offsets.append(_ms(offset))
            following = change
        moment = following
    return ZoneChanges(tuple(changes), tuple(offsets))


def _offset(zone: tzinfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def _change(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """The first second of the new offset, between two moments with different ones."""
    old = _offset(zone, before)
    while after - before > SECOND:
        middle = before + (after - before) // 2
        middle -= timedelta(microseconds=middle.microsecond)
        if _offset(zone, middle) == old:
            before = middle
        else:
            after = middle
    return after


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
