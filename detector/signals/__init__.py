"""Counts of templates in windows of event time to calibrated signals: one judge of windows per service.

Every signal is a -log10 p, judged by what the service's windows before have shown, and learnt only then. What load does
to all templates alike is kept apart from what a fault does to some; low counts are judged by exact tails, and stay
quiet.
"""

from detector.signals.limits import SignalLimits
from detector.signals.service import OPEN_MAX, ServiceSignals
from detector.signals.stored import KeptSignals, laid_out, taken_apart

__all__ = ["OPEN_MAX", "KeptSignals", "ServiceSignals", "SignalLimits", "laid_out", "taken_apart"]
