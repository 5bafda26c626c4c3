"""What a miner may use; every limit has a counter that tells when it bites."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MinerLimits:
    """Bounds of one service's miner.

    ``templates`` kept at most, aliases included, ``leaf_templates`` of them in one leaf; a full one gives up a tenth.
    ``line_bytes`` and ``tokens`` of a line are looked at. ``leaves_per_length`` first words tell templates of one
    length apart; the others share a leaf. ``cache_entries`` normal forms, masked lines and tokens, of ``cache_bytes``
    bytes, are remembered for speed, of each so many. Training stops when templates evicted within a window of
    ``window_lines`` lines are more than ``evictions_share`` of them.
    """

    templates: int = 2_000
    leaf_templates: int = 200
    leaves_per_length: int = 128
    line_bytes: int = 4_096
    tokens: int = 128
    cache_entries: int = 16_384
    cache_bytes: int = 2 * 2**20
    window_lines: int = 4_096
    evictions_share: float = 0.25

    def __post_init__(self) -> None:
        assert min(self.templates, self.leaf_templates, self.leaves_per_length, self.line_bytes, self.tokens) > 0
        assert min(self.cache_entries, self.cache_bytes, self.window_lines) > 0
        assert 0.0 < self.evictions_share <= 1.0
