"""What is remembered: one record per template, one per service, one per rate; all fields are numbers.

Of a template, and of the service's lines as a whole (``SERIES``), x lines in a window:

- ``mean``, ``weight``, ``variance``: of the last 50 windows or so, exponentially weighted with the bias of the
  beginning taken out; ``seasonal_*`` the same of counts by the service's seasonal factor; ``error``,
  ``seasonal_error``: their squared errors over days, which decide between the two;
- ``slow_mean``, ``slow_windows``, ``clumps``: of three days, whatever came: mean lines and (x - m)^2 - m for the m
  expected; ``excess``, ``square``, ``slow_weight``: the latter and m^2 of windows by the weight with which they were
  learnt; ``presence`` share of windows with lines; ``active`` windows with lines, all of them;
- ``decayed`` lines of the service's last windows, for shares; ``share_excess``, ``share_square`` like the two above;
- ``total`` lines, ``first_ms`` the first window with lines, ``windows`` learnt since, ``silent`` windows without lines
  since the last with, ``held`` windows in which learning was slowed, ``severity`` the largest class of the last window
  with lines, ``recent`` lines of the last windows, a ring at the service's ``place``.
"""

from typing import Final

import numpy as np

from detector.log_batches import RECENT_WINDOWS, SEVERITY_CLASSES

SERIES: Final = np.dtype(
    [
        ("mean", np.float64),
        ("seasonal_mean", np.float64),
        ("weight", np.float64),
        ("variance", np.float64),
        ("seasonal_variance", np.float64),
        ("error", np.float64),
        ("seasonal_error", np.float64),
        ("slow_mean", np.float64),
        ("slow_weight", np.float64),
        ("slow_windows", np.float64),
        ("clumps", np.float64),
        ("excess", np.float64),
        ("square", np.float64),
        ("presence", np.float64),
        ("active", np.float64),
        ("decayed", np.float64),
        ("share_excess", np.float64),
        ("share_square", np.float64),
        ("total", np.int64),
        ("first_ms", np.int64),
        ("windows", np.int32),
        ("silent", np.int32),
        ("held", np.int32),
        ("severity", np.int32),
        ("recent", np.uint32, (RECENT_WINDOWS,)),
    ],
    align=True,
)

RATE: Final = np.dtype(
    [
        ("decayed", np.float64),
        ("weight", np.float64),
        ("excess", np.float64),
        ("square", np.float64),
        ("windows", np.float64),
        ("mean", np.float64),
        ("clumps", np.float64),
        ("active", np.float64),
        ("total", np.float64),
    ],
    align=True,
)
"""How often something is, among so many lines: events ``decayed``; ``excess`` and
``square`` of the last windows as they were learnt, ``mean`` and ``clumps`` of more of them whatever came, and
``active`` windows with any; ``total`` events of all time."""

CLASSES: Final = len(SEVERITY_CLASSES)
LEVELS: Final = 3
"""New templates are counted of every class, from warning on, and from error on."""
ROLL_WINDOWS: Final = 5
"""Within so many windows a deploy reaches all pods."""
DAY_HOURS: Final = 24
WEEK_HOURS: Final = 168

SERVICE: Final = np.dtype(
    [
        ("windows", np.int64),
        ("lines", np.int64),
        ("place", np.int64),
        ("decayed", np.float64),
        ("mix_slope", np.float64),
        ("mix_mean", np.float64),
        ("mix_square", np.float64),
        ("mix_weight", np.float64),
        ("mix_windows", np.int64),
        ("held", np.int64),
        ("changing", np.int64),
        ("roll_new", np.float64, (ROLL_WINDOWS,)),
        ("roll_rate", np.float64, (ROLL_WINDOWS,)),
        ("slow_lines", np.float64),
        ("season", np.float64),
        ("season_mean", np.float64),
        ("smooth_error", np.float64),
        ("stepped_error", np.float64),
        ("stepped", np.int64),
        ("hour", np.int64),
        ("hour_sum", np.float64),
        ("hour_windows", np.int64),
        ("day_lines", np.float64, (DAY_HOURS,)),
        ("day_seen", np.int64, (DAY_HOURS,)),
        ("week_lines", np.float64, (WEEK_HOURS,)),
        ("week_seen", np.int64, (WEEK_HOURS,)),
    ],
    align=True,
)
"""Of a service: ``decayed`` lines for shares; ``mix_*`` how the G statistic usually is; ``held`` windows of slowed
learning, ``changing`` windows left in which a change of format is learnt at once; ``roll_*`` new templates of the last
windows and their expected number per line; ``season`` the
factor of the last window, ``season_mean`` as remembered as the means are; squared errors of a smooth and of a
``stepped`` season; ``hour`` of the epoch, and lines per window by hour of the day and of the week."""
