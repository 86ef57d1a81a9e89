"""Probes and metrics over HTTP: ``/livez``, ``/readyz``, ``/metrics``.

Served by threads of its own, so that they answer while the loop waits for Redis.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bananas_topology.errors import InvalidSettings
from bananas_topology.worker.exporter import Exporter, Sources

#: Seconds that a client may take over its request.
_REQUEST_S = 10

_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class HealthServer:
    """Serves until the process ends.

    Raises:
        InvalidSettings: nothing can be served at the port.
    """

    def __init__(self, port: int, sources: Sources) -> None:
        self._vitals = sources.vitals
        self._exporter = Exporter(sources)
        self._collecting = threading.Lock()
        handler = _handler(
            {
                "/livez": self._livez,
                "/readyz": self._readyz,
                "/metrics": self._metrics,
            }
        )
        try:
            self._server = ThreadingHTTPServer(("", port), handler)
        except OSError as error:
            raise InvalidSettings(
                [f"METRICS_PORT is {port}: cannot listen there: {error}"]
            ) from error
        self._server.daemon_threads = True
        #: Where it is served; another one than asked for if that was 0.
        self.port = int(self._server.server_address[1])
        serve = self._server.serve_forever
        threading.Thread(target=serve, name="health", daemon=True).start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()

    def _livez(self) -> tuple[HTTPStatus, str, bytes]:
        if self._vitals.lives:
            return HTTPStatus.OK, _TEXT, b"ok\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"the worker's loop does not turn\n"

    def _readyz(self) -> tuple[HTTPStatus, str, bytes]:
        if self._vitals.is_ready and self._vitals.lives:
            return HTTPStatus.OK, _TEXT, b"ok\n"
        told = b"no work is taken: Redis is out of reach, or the worker starts or stops\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, told

    def _metrics(self) -> tuple[HTTPStatus, str, bytes]:
        with self._collecting:
            return HTTPStatus.OK, _METRICS, self._exporter.text()


Route = Callable[[], tuple[HTTPStatus, str, bytes]]


def _handler(routes: dict[str, Route]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_S

        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            if route is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            status, kind, body = route()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: probes come every few seconds."""

    return Handler
