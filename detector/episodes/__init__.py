"""Scores become episodes: opened, updated, closed.

One compiled state machine per series and direction, under the policy that fits the series best. Event time only; a
series depends on its own rows in order and, where it is silent, on the watermark. Python objects exist only for the few
transitions. Windows of log lines become episodes likewise, in plain Python: there is one a minute and service.
"""

from detector.episodes.judge import EpisodeJudge
from detector.episodes.log_judge import LogJudge
from detector.episodes.log_policies import DEFAULT_LOG_POLICY, LogPolicy, LogPolicyBook
from detector.episodes.matchers import Matcher, MatchOperator, parse_matchers
from detector.episodes.policies import (
    DEFAULT_POLICY,
    Direction,
    Drift,
    LevelShift,
    NoData,
    Policy,
    PolicyBook,
    Stuck,
    Variance,
)

__all__ = [
    "DEFAULT_LOG_POLICY",
    "DEFAULT_POLICY",
    "Direction",
    "Drift",
    "EpisodeJudge",
    "LevelShift",
    "LogJudge",
    "LogPolicy",
    "LogPolicyBook",
    "MatchOperator",
    "Matcher",
    "NoData",
    "Policy",
    "PolicyBook",
    "Stuck",
    "Variance",
    "parse_matchers",
]
