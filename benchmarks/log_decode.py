"""Decoding of log records by format: JSON and protobuf, for messages of 71, 140 and 539 characters.

``python -m benchmarks.log_decode [--records N]``. Records (lines, for formats with many in a record) per second of
processor time, of the fastest pass over the same batches; synthetic, seeded. The last line is JSON.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from rich.console import Console
from rich.progress import track

from benchmarks.report_line import show
from detector.batches import RecordBatch
from detector.decoders.log_decoder import LogDecoderLimits, LogPaths
from detector.decoders.log_registry import LOG_DECODERS

BATCH_RECORDS = 4_000
PASSES = 5
START_MS = 1_795_305_600_000
SIZES = (71, 140, 539)
LINES_PER_REQUEST = 50
PODS = 40
WORDS = ("connection", "pool", "exhausted", "for", "order", "user", "retry", "after", "upstream", "timeout", "shard")
LEVELS = ("INFO", "INFO", "INFO", "WARN", "ERROR")


def message(source: random.Random, size: int) -> str:
    """Words and numbers, ``size`` characters."""
    words = ["request", f"{source.getrandbits(32):08x}", "took", str(source.randint(1, 9_999)), "ms"]
    while sum(map(len, words)) + len(words) < size:
        words.append(source.choice(WORDS) if source.random() < 0.8 else str(source.randint(0, 10**6)))
    return " ".join(words)[:size].ljust(size, ".")


def iso(time_ms: int) -> str:
    """RFC 3339 with milliseconds."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def kubernetes(pod: int) -> dict[str, Any]:
    """What Fluent Bit's filter adds."""
    return {
        "pod_name": f"checkout-7d9f6c5b4-{pod:05d}",
        "namespace_name": "shop",
        "pod_id": f"0e9a6f5e-93a1-4b0c-9d7e-{pod:012d}",
        "labels": {"app.kubernetes.io/name": f"service-{pod % 8}", "pod-template-hash": "7d9f6c5b4"},
        "host": f"node-{pod % 5}",
        "container_name": "app",
        "docker_id": f"{pod:064x}",
    }


def fluentbit(text: str, level: str, at: int, pod: int) -> dict[str, Any]:
    """As Fluent Bit writes it."""
    return {"@timestamp": at / 1000, "log": text, "stream": "stderr", "level": level, "kubernetes": kubernetes(pod)}


def nested(text: str, level: str, at: int, pod: int) -> dict[str, Any]:
    """Fluent Bit around an application that writes JSON."""
    inner = orjson.dumps({"ts": at / 1000, "level": level.lower(), "msg": text, "caller": "api/pool.go:42"}).decode()
    return {"@timestamp": at / 1000, "log": inner, "stream": "stderr", "kubernetes": kubernetes(pod)}


def ecs(text: str, level: str, at: int, pod: int) -> dict[str, Any]:
    """As Filebeat writes it."""
    return {
        "@timestamp": iso(at),
        "@metadata": {"beat": "filebeat", "type": "_doc", "version": "8.19.0"},
        "message": text,
        "log": {"level": level.lower(), "offset": at % 10**6, "file": {"path": "/var/log/app.log"}},
        "service": {"name": f"service-{pod % 8}", "environment": "production"},
        "host": {"name": f"node-{pod % 5}"},
        "trace": {"id": f"{at:032x}"},
        "ecs": {"version": "8.0.0"},
    }


def vector(text: str, level: str, at: int, pod: int) -> dict[str, Any]:
    """As Vector's source of Kubernetes logs writes it."""
    return {
        "file": f"/var/log/pods/{pod}.log",
        "kubernetes": {
            "container_name": "app",
            "pod_labels": {"app": f"service-{pod % 8}"},
            "pod_name": f"checkout-{pod}",
            "pod_namespace": "shop",
        },
        "level": level,
        "message": text,
        "source_type": "kubernetes_logs",
        "stream": "stdout",
        "timestamp": iso(at),
    }


def gelf(text: str, level: str, at: int, pod: int) -> dict[str, Any]:
    """Graylog's format."""
    return {
        "version": "1.1",
        "host": f"node-{pod % 5}",
        "short_message": text,
        "timestamp": at / 1000,
        "level": {"INFO": 6, "WARN": 4, "ERROR": 3}[level],
        "_service": f"service-{pod % 8}",
    }


def journald(text: str, level: str, at: int, pod: int) -> dict[str, Any]:
    """As ``journalctl -o json`` writes it."""
    return {
        "__REALTIME_TIMESTAMP": str(at * 1000),
        "_HOSTNAME": f"node-{pod % 5}",
        "PRIORITY": {"INFO": "6", "WARN": "4", "ERROR": "3"}[level],
        "_SYSTEMD_UNIT": f"service-{pod % 8}.service",
        "_PID": str(pod),
        "MESSAGE": text,
    }


def logback(text: str, level: str, at: int, pod: int) -> dict[str, Any]:
    """As logback's encoder for Logstash writes it."""
    return {
        "@timestamp": iso(at),
        "@version": "1",
        "message": text,
        "logger_name": "com.acme.shop.Pool",
        "thread_name": f"http-{pod}",
        "level": level,
        "level_value": 20000,
        "service": f"service-{pod % 8}",
        "trace_id": f"{at:032x}",
    }


def zap(text: str, level: str, at: int, pod: int) -> dict[str, Any]:
    """As zap writes it, with its service."""
    return {"level": level.lower(), "ts": at / 1000, "msg": text, "caller": "pool.go:42", "app": f"service-{pod % 8}"}


FLAT: dict[str, tuple[str, Callable[[str, str, int, int], dict[str, Any]]]] = {
    "fluentbit": ("fluentbit", fluentbit),
    "fluentbit, JSON inside": ("fluentbit", nested),
    "ecs": ("ecs", ecs),
    "vector": ("vector", vector),
    "gelf": ("gelf", gelf),
    "journald": ("journald", journald),
    "json: Fluent Bit": ("json", fluentbit),
    "json: Filebeat": ("json", ecs),
    "json: Vector": ("json", vector),
    "json: logback": ("json", logback),
    "json: zap": ("json", zap),
}


def otlp_json(texts: Sequence[tuple[str, str, int, int]]) -> bytes:
    """One export request of a collector."""
    records = [
        {
            "timeUnixNano": str(at * 1_000_000),
            "severityNumber": {"INFO": 9, "WARN": 13, "ERROR": 17}[level],
            "severityText": level,
            "body": {"stringValue": text},
            "attributes": [{"key": "log.file.name", "value": {"stringValue": "app.log"}}],
            "traceId": f"{at:032x}",
        }
        for text, level, at, _ in texts
    ]
    attributes = [{"key": "service.name", "value": {"stringValue": f"service-{texts[0][3] % 8}"}}]
    scopes = [{"scope": {"name": "app"}, "logRecords": records}]
    return orjson.dumps({"resourceLogs": [{"resource": {"attributes": attributes}, "scopeLogs": scopes}]})


def otlp_proto(texts: Sequence[tuple[str, str, int, int]]) -> bytes:
    """The same in protobuf."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    group.resource.attributes.add(key="service.name").value.string_value = f"service-{texts[0][3] % 8}"
    scope = group.scope_logs.add()
    for text, level, at, _ in texts:
        record = scope.log_records.add(time_unix_nano=at * 1_000_000, severity_text=level, trace_id=at.to_bytes(16))
        record.severity_number = {"INFO": 9, "WARN": 13, "ERROR": 17}[level]
        record.body.string_value = text
        record.attributes.add(key="log.file.name").value.string_value = "app.log"
    serialized: bytes = request.SerializeToString()
    return serialized


def loki(texts: Sequence[tuple[str, str, int, int]]) -> bytes:
    """One push of an agent, a stream per level."""
    streams = [
        {
            "stream": {"service_name": f"service-{texts[0][3] % 8}", "level": level, "pod": "checkout-1"},
            "values": [[str(at * 1_000_000), text] for text, one, at, _ in texts if one == level],
        }
        for level in sorted({level for _, level, _, _ in texts})
    ]
    return orjson.dumps({"streams": streams})


MANY: dict[str, Callable[[Sequence[tuple[str, str, int, int]]], bytes]] = {
    "otlp_json": otlp_json,
    "otlp_proto": otlp_proto,
    "loki": loki,
}


def batches_of(records: Sequence[bytes]) -> list[RecordBatch]:
    """The records in batches as a consumer would hand them over."""
    parts = [records[start : start + BATCH_RECORDS] for start in range(0, len(records), BATCH_RECORDS)]
    return [
        RecordBatch("bench", 0, np.arange(len(part)), np.full(len(part), START_MS + 10**7, dtype=np.int64), part)
        for part in parts
    ]


def lines_per_s(name: str, records: Sequence[bytes], lines: int, title: str) -> int:
    """Lines per second of processor time of the fastest pass of one decoder."""
    decoder = LOG_DECODERS[name](LogPaths(), LogDecoderLimits())
    batches = batches_of(records)
    best = float("inf")
    for _ in track(range(PASSES), description=title, console=Console(stderr=True), transient=True):
        began = time.process_time()
        found = sum(len(decoder.decode(batch)) for batch in batches)
        best = min(best, time.process_time() - began)
        assert found == lines
    return round(lines / best)


def main() -> None:
    """Run the benchmark and print its table and its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=40_000)
    count = parser.parse_args().records // LINES_PER_REQUEST * LINES_PER_REQUEST
    result: dict[str, dict[str, int]] = {}
    for size in SIZES:
        source = random.Random(size)
        texts = [
            (message(source, size), source.choice(LEVELS), START_MS + place * 7, source.randrange(PODS))
            for place in range(count)
        ]
        for title, (name, build) in FLAT.items():
            records = [orjson.dumps(build(*text)) for text in texts]
            result.setdefault(title, {})[str(size)] = lines_per_s(name, records, count, title)
        for name, gather in MANY.items():
            requests = [
                gather(texts[start : start + LINES_PER_REQUEST]) for start in range(0, count, LINES_PER_REQUEST)
            ]
            result.setdefault(name, {})[str(size)] = lines_per_s(name, requests, count, name)
    rows = [(title, *(f"{rates[str(size)]:,}" for size in SIZES)) for title, rates in result.items()]
    show("Log records decoded per second", ("format", *(f"{size} chars" for size in SIZES)), rows, result)


if __name__ == "__main__":
    main()
