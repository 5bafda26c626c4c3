"""The shell around the pipelines: loop, partition life cycle, delivery before commit, dead letters.

Knows the outside world only through ``detector.ports`` and time only through its ``Clock``; owns everything that may
fail, wait or be taken away. Nothing in here looks into a record.
"""

from detector.worker.assignments import PipelineFactory, ProcessingPipeline
from detector.worker.bootstraps import Bootstrap, FileLessons
from detector.worker.delivery import AtLeastOnce, Delivery, ExactlyOnce
from detector.worker.limits import StateLimits, WorkerLimits
from detector.worker.observer import BatchReport, BootstrapReport, NullObserver, Pipeline, WorkerObserver
from detector.worker.topics import OutputTopics
from detector.worker.worker import OutputListener, StateKeeping, SystemClock, Worker

__all__ = [
    "AtLeastOnce",
    "BatchReport",
    "Bootstrap",
    "BootstrapReport",
    "Delivery",
    "ExactlyOnce",
    "FileLessons",
    "NullObserver",
    "OutputListener",
    "OutputTopics",
    "Pipeline",
    "PipelineFactory",
    "ProcessingPipeline",
    "StateKeeping",
    "StateLimits",
    "SystemClock",
    "Worker",
    "WorkerLimits",
    "WorkerObserver",
]
