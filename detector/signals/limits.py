"""What one service may cost, and the rhythm of its windows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SignalLimits:
    """Settings of the signals of one service.

    ``window_ms`` length of a window, milliseconds of event time; ``warm_up_windows`` learnt before anything but new
    templates is judged, of a service and of each of its templates; ``templates`` largest number of a template;
    ``offset_ms`` from UTC to the clock by which the hours of the week are told.
    """

    window_ms: int = 60_000
    warm_up_windows: int = 30
    templates: int = 2_000
    offset_ms: int = 0
