"""What is rare, and what was never seen.

The chance that the next line begins a new template is that of the templates seen in one window only, per line so far
(Good and Turing), or what the last windows have shown, whichever is larger. A window is rare by the rarest template in
it: 1 - (1 - p)^n for n lines, p the chance per line that something as rare or rarer comes, the unseen included. Lines
come in clumps, so a template counts once per window.

Source: Good (1953), "The population frequencies of species and the estimation of population parameters", Biometrika 40.
"""

import math
from typing import Final

import numpy as np

from detector.batches import FloatArray
from detector.compiled import compiled
from detector.signals.counts import PRIOR_EVENTS
from detector.signals.rates import usual_share
from detector.signals.tails import some_digits

RARITIES: Final = 48
"""Powers of two by which presence is sorted."""


@compiled
def rarity(presence: float) -> int:
    """The power of two below a share of windows, 0 for the most present ones."""
    if presence <= 0.0:
        return RARITIES - 1
    _, exponent = math.frexp(presence)
    return min(max(-exponent, 0), RARITIES - 1)


@compiled
def new_per_line(level: np.void, once: float, recent_lines: float, all_lines: float) -> float:
    """New templates expected per line; ``once`` templates were seen in one window only."""
    return max((once + PRIOR_EVENTS) / (all_lines + 1.0), usual_share(level, recent_lines, all_lines))


@compiled
def rare_digits(present: FloatArray, rarest: int, unseen: float, load: float) -> float:
    """-log10 P that anything as rare comes in a window.

    ``present`` shares of windows summed by rarity, ``unseen`` new templates expected, ``load`` lines by the usual ones.
    """
    mass = 0.0
    for k in range(rarest, RARITIES):
        mass += present[k]
    return some_digits(mass * load + unseen)
