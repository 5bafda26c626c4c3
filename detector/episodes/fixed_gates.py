"""The gates that no policy sets, by name: what else decided about an episode, for those who explain it."""

from typing import Final, NamedTuple

from detector.episodes.drift import SETTLED_SHARE
from detector.episodes.kernel import NOVEL_DEVIATION_MIN
from detector.episodes.shapes import ANOMALOUS_SHARE, EARLY_PARTS, TIGHT_SHARE
from detector.episodes.spread import LEAN_MAX, SPREAD_MIN


class FixedGates(NamedTuple):
    """Each as the kernels use it, where its reason stands."""

    novel_deviation_min: float
    early_parts: int
    steady_share: float
    tight_share: float
    settled_share: float
    lean_max: float
    spread_min: float


FIXED_GATES: Final = FixedGates(
    novel_deviation_min=NOVEL_DEVIATION_MIN,
    early_parts=EARLY_PARTS,
    steady_share=ANOMALOUS_SHARE,
    tight_share=TIGHT_SHARE,
    settled_share=SETTLED_SHARE,
    lean_max=LEAN_MAX,
    spread_min=SPREAD_MIN,
)
