"""Log lines to templates, online: one miner per service, which never forgets what the service usually says.

The template of a line is a function of the service's lines up to it. Caches save time and change nothing; everything
has a bound, and where text is random the miner stops learning, counts it as other, and says so.
"""

from detector.templates.forest import OTHER, Change
from detector.templates.limits import MinerLimits
from detector.templates.messages import continues, message_of
from detector.templates.miner import MinerCounts, Template, TemplateMiner
from detector.templates.severity import severity_of
from detector.templates.stored import KeptMiner, laid_out, taken_apart

__all__ = [
    "OTHER",
    "Change",
    "KeptMiner",
    "MinerCounts",
    "MinerLimits",
    "Template",
    "TemplateMiner",
    "continues",
    "laid_out",
    "message_of",
    "severity_of",
    "taken_apart",
]
