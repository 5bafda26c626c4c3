"""Log lines of an imaginary service, seeded: shapes with numbers, names, addresses and identifiers in them."""

import random
import uuid
from collections.abc import Callable
from typing import Final

NAMES: Final = ("ann", "bob", "cho", "dee", "eve", "fay", "gus", "hal", "ida", "jim")
STATES: Final = ("READY", "BUSY", "DRAINING", "GONE", "LOST", "HELD")
Shape = Callable[[random.Random], str]

SHAPES: Final[tuple[Shape, ...]] = (
    lambda r: (
        f"Received block blk_{r.randint(-(10**12), 10**12)} of size {r.randint(1, 10**8)} from 10.0.{r.randint(0, 9)}.7"
    ),
    lambda r: (
        f"order {uuid.UUID(int=r.getrandbits(128))} accepted for user {r.choice(NAMES)} in {r.randint(1, 900)} ms"
    ),
    lambda r: f'GET /api/v{r.randint(1, 2)}/orders/{r.randint(1, 99)} HTTP/1.1" {r.choice((200, 201, 404, 503))} 512',
    lambda r: f"worker eth{r.randint(0, 1)} went from {r.choice(STATES)} to sleep",
    lambda r: (
        f"cache {r.choice(('hot', 'cold'))} path=/var/cache/{r.choice(NAMES)}/x.bin mode={r.choice(('ro', 'rw'))}"
    ),
    lambda r: f"checkpoint took {r.random():.3f} s, trace {r.getrandbits(64):016x}",
    lambda _: "nothing to do",
    lambda r: f"{r.choice(NAMES)} logged in at 2026-03-0{r.randint(1, 9)} 10:11:{r.randint(10, 59)},123",
    lambda r: (
        f"module {r.choice(('alpha', 'beta', 'gamma', 'delta', 'eps'))} has been started by the init system today"
    ),
    lambda r: f"deleted blk_{r.randint(1, 99)} " * r.randint(1, 4),
)


def service_lines(count: int, seed: int) -> list[bytes]:
    """``count`` lines, in an order that the seed decides."""
    source = random.Random(seed)
    return [source.choice(SHAPES)(source).encode() for _ in range(count)]


def random_lines(count: int, seed: int) -> list[bytes]:
    """Text without any shape: of all words hardly one comes twice."""
    source = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return [
        " ".join(
            "".join(source.choices(letters, k=source.randint(2, 9))) for _ in range(source.randint(3, 12))
        ).encode()
        for _ in range(count)
    ]
