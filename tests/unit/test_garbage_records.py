"""The stream of the garbage benchmark: every reason that it promises is in it."""

from collections import Counter

from benchmarks.garbage_records import REASONS, records_of
from detector.batches import REJECT_REASONS


def test_garbage_is_of_every_reason_and_its_share() -> None:
    reasons = Counter(record.reason for record in records_of(20_000))
    assert sum(reasons.values()) == 20_000
    assert {reason: count for reason, count in reasons.items() if reason is not None}.keys() == set(REASONS)
    garbage = [reasons[reason] for reason in REASONS]
    assert sum(garbage) == 200
    assert max(garbage) - min(garbage) <= 1
    assert set(REJECT_REASONS) - set(REASONS) == {"malformed"}
