"""An HTTP server for probes and scrapes, which answers in threads of its own.

To be imported only if a port is set: it costs memory and start-up time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Content types.
TEXT = "text/plain; charset=utf-8"
METRICS_TEXT = "text/plain; version=0.0.4; charset=utf-8"

#: Status, content type and body.
Answer = tuple[HTTPStatus, str, bytes]

#: Serves one path, given the query.
Route = Callable[[str], Answer]

#: Seconds that a client may take to send its request.
_REQUEST_TIMEOUT_S = 10.0


def serve(port: int, routes: Mapping[str, Route], thread_name: str) -> ThreadingHTTPServer:
    """Serve GET requests of these paths until the server is closed.

    Raises:
        OSError: cannot listen on the port.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_TIMEOUT_S

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            route = routes.get(path)
            if route is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            status, kind, body = route(query)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: requests arrive every few seconds."""

    server = ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name=thread_name, daemon=True).start()
    return server
