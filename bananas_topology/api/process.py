"""The api process: read the settings, then serve until stopped.

SIGTERM and SIGINT stop it after the requests in progress, SIGQUIT immediately.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial

import anyio.to_thread
import uvicorn
from fastapi import FastAPI

from bananas_topology.api.app import make_app
from bananas_topology.api.connections import ClientConnection, connection_limit
from bananas_topology.api.service import Service
from bananas_topology.api.token import Token
from bananas_topology.contract.api import SAME_TOKENS, ApiConfig, api_from_env
from bananas_topology.contract.exit_codes import EXIT_ACCESS_DENIED, EXIT_CONFIG, EXIT_FAILED
from bananas_topology.contract.names import API
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import BananasTopologyError, InvalidSettings, PortUnavailable
from bananas_topology.jobs.access import RestartCheck, ServerUrl
from bananas_topology.jobs.connection import PRODUCER_TIMEOUT_S, connect, failure
from bananas_topology.system.notify import Notifier
from bananas_topology.worker import logs

#: Without a token, the api listens on loopback only.
LOOPBACK = "127.0.0.1"
ALL_INTERFACES = "0.0.0.0"

#: Seconds between two checks whether the server grants access.
ACCESS_CHECK_S = 5.0

#: Seconds that requests in progress have to finish when stopping.
GRACE_S = 10

#: Connections that are accepted at once, before any of them is counted.
_ACCEPTED = 64

#: Connections that the system holds until they are accepted.
_QUEUED = 2_048

#: Ticks of uvicorn's loop, ten a second, between two reports.
_TICKS_PER_REPORT = 10

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Returns after a stop signal, where uvicorn would raise the captured signal again.

    Reports to its parent that it serves (see system/notify.py).
    """

    notifier: Notifier
    on_stop: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve."""
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_QUEUED)  # uvicorn has set _ACCEPTED

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second, from when the port is served."""
        if counter % _TICKS_PER_REPORT == 0 and not self.should_exit:
            self.notifier.send(READY=1, WATCHDOG=1)
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        yield

    def stop(self) -> None:
        """Finish the requests in progress and return."""
        if self.should_exit:
            return
        log.info("api stopping")
        self.should_exit = True
        self.on_stop()
        # Just before uvicorn ends what is left, with a traceback for each.
        asyncio.get_running_loop().call_later(GRACE_S - 1, self._abort_unread)

    def _abort_unread(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, ClientConnection):
                connection.abort_unread()


class _Access:
    """Whether the api still has the password of its server."""

    def __init__(self, url: ServerUrl, failure: Callable[[], BananasTopologyError | None]) -> None:
        self._failure = failure
        self._restart = RestartCheck(url)

    async def wait_until_stale(self) -> None:
        """Return once only a restart helps."""
        while True:
            await asyncio.sleep(ACCESS_CHECK_S)
            reason = self._restart.reason(await anyio.to_thread.run_sync(self._failure))
            if reason is not None:
                return log.error("restart needed: %s", reason)


def run() -> int:
    """Read the settings and serve until stopped; returns the exit code."""
    try:
        config = api_from_env(os.environ)
        _configure_logs(config)
        url, token = ServerUrl.of(config), Token(config.token, config.token_file)
        read_token = Token(config.read_token, config.read_token_file, "API_READ_TOKEN")
        if token.equals(read_token):
            raise InvalidSettings([SAME_TOKENS])
        client = connect(url, key_prefix=config.key_prefix, timeout_s=PRODUCER_TIMEOUT_S)
        service = Service.connect(url, config.key_prefix, config.pools)
        app = make_app(service, token, read_token, config.cors_origins)
        if config.cors_origins and not token.is_set:
            log.warning("CORS disabled: API_CORS_ORIGINS requires API_TOKEN")
        return _serve(config, app, token, _Access(url, partial(failure, client)))
    except InvalidSettings as error:
        return _fail(error, EXIT_CONFIG)
    except BananasTopologyError as error:
        return _fail(error, EXIT_FAILED)


def listen(host: str, port: int) -> socket.socket:
    """Open a port whose connections send at once what is written.

    Responses are written in two parts. By default the second one would wait until the client has
    acknowledged the first, which takes 40 ms. asyncio changes that only for sockets that name their
    protocol, unlike those of `socket.create_server`.

    Raises:
        OSError: the port is taken, or not allowed.
    """
    listener = socket.create_server((host, port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
    return listener


def _serve(config: ApiConfig, app: FastAPI, token: Token, access: _Access) -> int:
    host = ALL_INTERFACES if token.is_set else LOOPBACK
    try:
        listener = listen(host, config.port)
    except OSError as error:
        raise PortUnavailable("API_PORT", config.port, error) from error
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            http=ClientConnection,
            backlog=_ACCEPTED,
            ws="none",
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    ClientConnection.limit = connection_limit()
    where = "on all interfaces" if token.is_set else "on loopback only, API_TOKEN is not set"
    log.info("api ready, listening %s", where, extra={"host": host, "port": config.port})
    server.notifier = Notifier.from_environ(os.environ)
    server.on_stop = app.state.api.stop
    # Imported modules and the app stay: collections need not traverse them each time.
    gc.collect()
    gc.freeze()
    code = asyncio.run(_run(server, listener, access))
    log.info("api stopped")
    return code


async def _run(server: _Server, listener: socket.socket, access: _Access) -> int:
    """Serve until stopped, or until only a restart gives access to Redis; returns the exit code."""
    check = asyncio.create_task(access.wait_until_stale())
    check.add_done_callback(lambda _: server.stop())
    await server.serve([listener])
    if check.done():
        return EXIT_ACCESS_DENIED
    check.cancel()
    return 0


def _configure_logs(config: ApiConfig) -> None:
    logs.configure(
        WorkerConfig(
            worker_id=os.environ.get("WORKER_ID") or socket.gethostname(),
            pool=API,
            log_level=config.log_level,
            log_format=config.log_format,
            log_color=config.log_color,
        )
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _fail(error: BananasTopologyError, code: int) -> int:
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
    return code
