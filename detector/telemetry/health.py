"""Metrics and health over HTTP, on a thread of their own.

``/healthz`` asks whether the loop turns and never whether Kafka is up: restarting pods does not mend brokers.
``/readyz`` asks whether the worker takes part in its group. ``/metrics`` is Prometheus' text (or OpenMetrics, where
asked for).
"""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from detector.errors import UsageError

REQUEST_TIMEOUT_S: Final = 5.0
"""A client that sends nothing is dropped, so that idle connections cannot pile up threads."""
PLAIN: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Health:
    """What the endpoints ask: age of the loop's last turn in seconds, its limit, and whether the group was joined."""

    alive_age_s: Callable[[], float]
    alive_age_max_s: float
    ready: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: HTTPStatus
    content_type: str
    body: bytes


class HealthServer:
    """Serves until :meth:`close`. Raises ``UsageError`` where the address cannot be had."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, health: Health) -> None:
        self._registry = registry
        self._health = health
        try:
            self._server = ThreadingHTTPServer((host, port), _requests_for(self._answer))
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"telemetry.http_host {host}, http_port {port}: cannot listen there: {error}; "
                "set another port, or 0 for a free one"
            ) from error
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="telemetry", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Port that is listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, path: str, accept: str) -> _Answer:
        match path.split("?", 1)[0]:
            case "/metrics":
                encode, content_type = choose_encoder(accept)
                return _Answer(HTTPStatus.OK, content_type, encode(self._registry))
            case "/healthz":
                return self._alive()
            case "/readyz":
                return self._ready()
            case _:
                return _text(HTTPStatus.NOT_FOUND, "there are /metrics, /healthz and /readyz")

    def _alive(self) -> _Answer:
        age, limit = self._health.alive_age_s(), self._health.alive_age_max_s
        if age > limit:
            return _text(
                HTTPStatus.SERVICE_UNAVAILABLE, f"the loop has not turned for {age:.1f} s (limit {limit:.1f} s)"
            )
        return _text(HTTPStatus.OK, f"the loop turned {age:.1f} s ago")

    def _ready(self) -> _Answer:
        if self._health.ready():
            return _text(HTTPStatus.OK, "ready")
        return _text(
            HTTPStatus.SERVICE_UNAVAILABLE, "the group is not joined yet, or partitions are still without their models"
        )


def _text(status: HTTPStatus, sentence: str) -> _Answer:
    return _Answer(status, PLAIN, f"{sentence}\n".encode())


def _requests_for(answer: Callable[[str, str], _Answer]) -> type[BaseHTTPRequestHandler]:
    """Build the request class that http.server wants, around one function."""

    class Requests(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = answer(self.path, self.headers.get("Accept", ""))
            self.send_response(found.status)
            self.send_header("Content-Type", found.content_type)
            self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's own signature
            """Keep probes out of the log."""

    return Requests
