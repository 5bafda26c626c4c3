"""Which of several policies applies to a series."""

from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

from detector.batches import SeriesIdentity
from detector.episodes.matchers import Matcher
from detector.errors import UsageError


class Matching(Protocol):
    """What a book wants to know of a policy."""

    @property
    def name(self) -> str:
        """Its name, unlike that of any other in the book."""

    @property
    def matchers(self) -> tuple[Matcher, ...]:
        """What a series must have; none for the default."""

    def matches(self, identity: SeriesIdentity) -> bool:
        """Whether every matcher holds."""


P = TypeVar("P", bound=Matching)


class Book(Generic[P]):
    """The policies of a partition, in the order given, and the rule which one applies.

    The most specific wins: more equality matchers, then more of the other matchers, then the earlier one. A policy
    without matchers is the default; ``default`` is appended where none is given, so one always applies. Raises
    ``UsageError`` for two policies of one name or two defaults.
    """

    def __init__(self, policies: Sequence[P], default: P) -> None:
        names = [policy.name for policy in policies]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"policy {name!r} is defined twice; give each policy a name of its own")
        defaults = [policy.name for policy in policies if not policy.matchers]
        if len(defaults) > 1:
            raise UsageError(
                f"policies {defaults[0]!r} and {defaults[1]!r} both lack matchers; only one can be the default"
            )
        if not defaults and default.name in names:
            raise UsageError(
                f"policy {default.name!r} has matchers; the name belongs to the policy for everything else"
            )
        self.policies: Final[tuple[P, ...]] = (*policies,) if defaults else (*policies, default)
        self._ranking = sorted(range(len(self.policies)), key=self._rank)

    def choose(self, identity: SeriesIdentity) -> int:
        """Index in ``policies`` of the one that applies to a series."""
        return next(index for index in self._ranking if self.policies[index].matches(identity))

    def _rank(self, index: int) -> tuple[int, int, int]:
        matchers = self.policies[index].matchers
        equal = sum(matcher.operator == "=" for matcher in matchers)
        return -equal, equal - len(matchers), index
