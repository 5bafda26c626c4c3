"""``detector warmup``: compile the kernels before they are needed."""

import typer

from detector.settings import Settings
from detector.wiring import warm_up


def compile_kernels(settings: Settings) -> None:
    """Compile and print how long each learner's way through the pipeline took."""
    for learner, seconds in warm_up(settings).items():
        typer.echo(f"{learner}: kernels compiled and cached in {seconds:.1f} s")
