"""Run every benchmark and write benchmarks/README.md: ``make bench``.

Tables in that file come from one run on one machine; the ratios are what to look at.
"""

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.report_line import note

BENCHMARKS: Final = (
    "pipeline",
    "decode",
    "learners",
    "scenarios",
    "garbage",
    "log_flow",
    "log_worker",
    "logs",
    "log_counts",
)
PICTURES: Final = Path(__file__).with_name("pictures")
README: Final = Path(__file__).with_name("README.md")
HEAD: Final = """# Benchmarks

`make bench` runs these and writes this page; each alone is `python -m benchmarks.NAME`, shows its progress, prints a
table and, as its last line, one JSON object. Absolute numbers belong to the machine ({machine}); ratios within
one table come from one run.

- `pipeline`: real Kafka; the worker with episodes, telemetry and commits on, beside a bare `consume()`, a loop with one
  river GaussianScorer per series, and quixstreams with state per key (in an environment of its own, since it holds the
  client back). JSON metrics of 5,000 series with four labels, two partitions.
- `decode`: bytes to columns, nothing else.
- `learners`: time and memory of ours and of river's detectors.
- `scenarios`: what must hold for an operator, seeded, with the shipped default: noise, counts, cold start, jobs,
  daylight saving, square waves, silence, flat lines, incidents, new levels, scatter, new pods, late points. Ends with
  3 when a promise is broken.
- `nab` and `labelled`, where their data is given (`make bench NAB=DIR LABELLED=DIR`): the Numenta benchmark and any
  folder of labelled series, beside a 3-sigma rule and river's fast detectors. `--peers` adds river's slow ones, PySAD's
  and rrcf.
- `garbage`: a million records on real Kafka, one in a hundred of them garbage, in some hundred shapes for all reject
  reasons; every dead letter is compared with what was sent. Ends with 3 when one is missing, wrong or too many.
- `log_flow`: log records of every format through the whole pipeline of a partition, for messages of 71, 140 and 539
  characters, beside drain3 in the place of our miner; bytes of state per template.
- `log_worker`: the same records at 539 characters through the worker on real Kafka, beside a bare `consume()`.
- `logs`: lines per second of mining templates, cold and warm, short, long and random lines, beside drain3.
- `log_counts`: false alarms of counts of templates, of calm services and their episodes, and deploys that reword.
- `loghub` and `nezha`, where their data is given (`LOGHUB=DIR NEZHA=DIR`): templates found in labelled log sets
  (`*_structured.csv` of Loghub), beside drain3; and which of 27 services a fault was injected into, by their logs.

Too long for `make bench`, or parts of what is above, to be run alone:

- `delivery`: exactly once with snapshots beside at least once without, in turns on one topic of real Kafka.
- `log_decode` and `log_text`: decoding alone, in JSON and protobuf, and of text, with joining and mining.
- `restore`: how long copying a large state stops scoring, and how soon a million series are back, without a broker.
- `bootstrap`: how fast history is learnt, from the topic and from a file, and what live partitions notice of it.
- `large_state`: half a million series in one partition through real brokers; ends with 3 when a snapshot fails.
- `soak`: memory of a worker under ten minutes of load on real Kafka, first with fewer series than the limit, then with
  three times as many in generations and in turns. Ends with 3 when memory grows, the limit breaks or no warning tells.
"""


def output_of(name: str, *options: str) -> str:
    """Standard output of one benchmark, whose progress goes to our stderr."""
    note(f"benchmark {name}")
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def pictured(name: str, data: Path) -> str:
    """Output of a benchmark over a folder of data, and a picture of its table."""
    PICTURES.mkdir(exist_ok=True)
    picture = PICTURES / f"{name}.png"
    found = output_of(name, "--data", str(data), "--plot", str(picture))
    return f"## {name}\n\n![{name}]({PICTURES.name}/{picture.name})\n\n```\n{found}\n```\n"


def main() -> None:
    """Run all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nab", type=Path, help="folder of the Numenta benchmark's corpus")
    parser.add_argument("--labelled", type=Path, help="folder of labelled series")
    parser.add_argument("--loghub", type=Path, help="folder of labelled log sets")
    parser.add_argument("--nezha", type=Path, help="folder of logs with injected faults")
    arguments = parser.parse_args()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    parts = [HEAD.format(machine=machine)]
    for name in BENCHMARKS:
        found = output_of(name)
        print(found, flush=True)
        parts.append(f"## {name}\n\n```\n{found}\n```\n")
    parts += [pictured("nab", arguments.nab)] if arguments.nab else []
    parts += [pictured("labelled", arguments.labelled)] if arguments.labelled else []
    for name, data in (("loghub", arguments.loghub), ("nezha", arguments.nezha)):
        if data is not None:
            parts.append(f"## {name}\n\n```\n{output_of(name, '--data', str(data))}\n```\n")
    README.write_text("\n".join(parts), encoding="utf-8")
    note(f"wrote {README.name}")


if __name__ == "__main__":
    main()
