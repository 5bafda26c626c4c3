"""What exactly-once delivery with snapshots costs: the worker with and without them on one topic in one run.

``python -m benchmarks.delivery [--records N] [--rounds N] [--bootstrap HOST:PORT]``. JSON metrics of 5,000 series with
four labels on two partitions; snapshots every three seconds instead of every ninety, so that each run holds some. In
turns; the ratio is the median over the rounds of the two rates of one round.
"""

import argparse
import statistics

from benchmarks.pipeline import broker_at, measure
from benchmarks.report_line import show

NAMES = {
    "worker": "at least once, no snapshots",
    "exactly_once": "exactly once, snapshots every 3 s",
}


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bootstrap", help="a running broker; by default one is started")
    options = parser.parse_args()
    with broker_at(options.bootstrap) as bootstrap:
        results = measure(bootstrap, options.records, options.rounds, tuple(NAMES))
    rates = {name: statistics.median(one["per_s"] for one in found) for name, found in results.items()}
    pairs = zip(results["exactly_once"], results["worker"], strict=True)
    ratio = statistics.median(ours["per_s"] / bare["per_s"] for ours, bare in pairs)
    summary = {
        "exactly_once_to_at_least_once": round(ratio, 3),
        "exactly_once_per_s": round(rates["exactly_once"]),
        "at_least_once_per_s": round(rates["worker"]),
        "records": options.records,
        **{name: [one[name] for one in results["exactly_once"]] for name in ("snapshots", "commits", "aborted")},
    }
    rows = [(NAMES[name], f"{rate:,.0f}", f"{rate / rates['worker']:.2f}") for name, rate in rates.items()]
    show("Delivery on real Kafka", ("worker", "records/s", "to at least once"), rows, summary)


if __name__ == "__main__":
    main()
