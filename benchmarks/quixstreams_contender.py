"""quixstreams on the pipeline benchmark's topic, with per-key state: runs in an environment of its own.

``python quixstreams_contender.py BOOTSTRAP TOPIC RECORDS``: parse JSON, keep mean and variance of each key in the state
store, score, forward high scores to a topic. Prints one JSON object; the rate counts from the first thousand records
on.
"""

import json
import os
import sys
import tempfile
import time
import uuid
from typing import Any

from quixstreams import Application

WARM_UP_RECORDS = 1_000
GAIN = 0.02


def main() -> None:
    """Consume ``RECORDS`` records and print the rate."""
    bootstrap, topic, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
    seen = {"count": 0, "started_s": 0.0}
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"bench-{uuid.uuid4()}",
        auto_offset_reset="earliest",
        auto_create_topics=True,
        state_dir=tempfile.mkdtemp(prefix="quixstreams-"),
        use_changelog_topics=False,
        loglevel="ERROR",
    )

    def score(value: dict[str, Any], state: Any) -> dict[str, Any]:
        seen["count"] += 1
        if seen["count"] == WARM_UP_RECORDS:
            seen["started_s"] = time.perf_counter()
        elif seen["count"] == wanted:
            seconds = time.perf_counter() - seen["started_s"]
            print(json.dumps({"per_s": round((wanted - WARM_UP_RECORDS) / seconds)}), flush=True)
            os._exit(0)  # its own orderly end can take minutes, which is not what is measured
        mean, variance = state.get("model", (value["value"], 1.0))
        error = value["value"] - mean
        state.set("model", (mean + GAIN * error, (1.0 - GAIN) * (variance + GAIN * error * error)))
        value["score"] = abs(error) / variance**0.5
        return value

    source = app.topic(topic, value_deserializer="json")
    target = app.topic(f"{topic}.quixstreams", value_serializer="json")
    stream = app.dataframe(source)
    stream = stream.apply(score, stateful=True)
    stream = stream[stream["score"] > 8.0]
    stream.to_topic(target)
    app.run()


if __name__ == "__main__":
    main()
