"""Consumer groups of the broker in memory: members, generations, cooperative rebalances, committed offsets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from detector.errors import TransactionAbortedError
from detector.io.memory_log import MemoryTransaction, Outcome
from detector.ports import NOT_COMMITTED, Committed, GroupMember, TopicPartition


def group_of(member: GroupMember) -> str:
    """Name of the group that a member's name belongs to."""
    return member.split(b"/", 2)[2].decode()


class Member(Protocol):
    """Who may join a group."""

    @property
    def topics(self) -> Sequence[str]:
        """What it wants to read."""


class MemoryGroup:
    """One consumer group: members in the order in which they joined, and who shall own and who owns which partition.

    A rebalance only changes what each member *shall* own. Members follow in their own calls: first they give up what is
    no longer theirs, and only then can another member take it, so that a partition never has two owners at once. Every
    rebalance begins a generation, which a member hears of when it follows; until then it is refused, as one that has
    missed the rebalance.

    Offsets that came in a transaction are pending until it is decided.
    """

    def __init__(self, name: str, partitions: Callable[[str], Sequence[TopicPartition]]) -> None:
        self.name = name
        self.committed: dict[TopicPartition, Committed] = {}
        self.owners: dict[TopicPartition, Member] = {}
        self.generation = 0
        self._partitions = partitions
        self._targets: dict[TopicPartition, Member] = {}
        self._members: dict[Member, int] = {}
        self._joined = 0
        self._pending: list[MemoryTransaction] = []

    def join(self, member: Member) -> None:
        """Add a member, under a new id, and rebalance."""
        assert member not in self._members
        self._joined += 1
        self._members[member] = self._joined
        self.rebalance()

    def leave(self, member: Member) -> None:
        """Remove a member, free what it owned, and rebalance."""
        del self._members[member]
        self.owners = {place: owner for place, owner in self.owners.items() if owner is not member}
        self.rebalance()

    def is_member(self, member: Member) -> bool:
        """Whether the group still knows ``member``."""
        return member in self._members

    def name_of(self, member: Member) -> GroupMember:
        """What a member that follows the group is known by from now until the next rebalance."""
        return b"%d/%d/%s" % (self.generation, self._members[member], self.name.encode())

    def surplus(self, member: Member) -> list[TopicPartition]:
        """What ``member`` owns and shall give up."""
        return [
            place for place, owner in self.owners.items() if owner is member and self._targets.get(place) is not member
        ]

    def take_free(self, member: Member) -> list[TopicPartition]:
        """Let ``member`` own what it shall own and nobody holds."""
        free = [place for place, target in self._targets.items() if target is member and place not in self.owners]
        self.owners.update(dict.fromkeys(free, member))
        return free

    def give_up(self, member: Member, place: TopicPartition) -> None:
        """End ``member``'s ownership, if it still has it."""
        if self.owners.get(place) is member:
            del self.owners[place]

    def answer(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed] | None:
        """What is committed for each; None while a transaction about any of them is undecided."""
        if any(place in transaction.offsets[self.name] for transaction in self._pending for place in places):
            return None
        return {place: self.committed.get(place, NOT_COMMITTED) for place in places}

    def add_pending(
        self, transaction: MemoryTransaction, offsets: Mapping[TopicPartition, Committed], member: GroupMember
    ) -> None:
        """Keep ``offsets`` until ``transaction`` is decided; refuses who is no member or of another generation."""
        generation, number, _ = member.split(b"/", 2)
        if int(number) not in self._members.values():
            raise TransactionAbortedError("the offsets of a transaction were refused: unknown member")
        if int(generation) != self.generation:
            raise TransactionAbortedError("the offsets of a transaction were refused: illegal generation")
        if transaction not in self._pending:
            self._pending.append(transaction)
        transaction.offsets.setdefault(self.name, {}).update(offsets)

    def decide(self, transaction: MemoryTransaction) -> None:
        """Commit or forget what was pending."""
        self._pending.remove(transaction)
        if transaction.outcome is Outcome.COMMITTED:
            self.committed.update(transaction.offsets[self.name])

    def rebalance(self) -> None:
        """Begin a generation. Sticky and even: everybody keeps a fair share, the rest goes to those who have least."""
        self.generation += 1
        topics = sorted({topic for member in self._members for topic in member.topics})
        places = [place for topic in topics for place in self._partitions(topic)]
        shares: dict[Member, list[TopicPartition]] = {member: [] for member in self._members}
        share_max = -(-len(places) // len(shares)) if shares else 0
        homeless = list(self._keep(places, shares, share_max))
        for place in homeless:
            readers = [member for member in self._members if place.topic in member.topics]
            shares[min(readers, key=lambda member: len(shares[member]))].append(place)
        self._targets = {place: member for member, places in shares.items() for place in places}

    def _keep(
        self, places: Sequence[TopicPartition], shares: Mapping[Member, list[TopicPartition]], share_max: int
    ) -> Iterator[TopicPartition]:
        for place in places:
            owner = self.owners.get(place)
            if owner is None or owner not in shares or place.topic not in owner.topics:
                yield place
            elif len(shares[owner]) < share_max:
                shares[owner].append(place)
            else:
                yield place
