"""The api process: read the settings, then serve until stopped.

SIGTERM and SIGINT stop it after the requests in progress, SIGQUIT immediately.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn

from bananas_topology.api.app import make_app
from bananas_topology.api.service import Service
from bananas_topology.client import Client
from bananas_topology.contract.api import ApiConfig, api_from_env
from bananas_topology.contract.names import API
from bananas_topology.contract.worker import EXIT_CONFIG, EXIT_FAILED, WorkerConfig
from bananas_topology.errors import BananasTopologyError, InvalidSettings
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.notify import Notifier
from bananas_topology.worker import logs

#: Without a token, the api listens on loopback only.
LOOPBACK = "127.0.0.1"
ALL_INTERFACES = "0.0.0.0"

#: Seconds that requests in progress have to finish when stopping.
GRACE_S = 10

#: Ticks of uvicorn's loop, ten a second, between two reports.
_TICKS_PER_REPORT = 10

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Returns after a stop signal, where uvicorn would raise the captured signal again.

    Reports to whoever started it that it serves (see system/notify.py).
    """

    notifier: Notifier

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second, from when the port is served."""
        if counter % _TICKS_PER_REPORT == 0 and not self.should_exit:
            self.notifier.send(READY=1, WATCHDOG=1)
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        log.info("api stopping")
        self.should_exit = True


def run() -> int:
    """Read the settings and serve until stopped; returns the exit code."""
    try:
        config = api_from_env(os.environ)
        _configure_logs(config)
        service = Service(
            Client(config.redis_url, key_prefix=config.key_prefix),
            Inspector(
                connect(config.redis_url, key_prefix=config.key_prefix), Keys(config.key_prefix)
            ),
        )
        return _serve(config, service)
    except InvalidSettings as error:
        return _fail(error, EXIT_CONFIG)
    except BananasTopologyError as error:
        return _fail(error, EXIT_FAILED)


def _serve(config: ApiConfig, service: Service) -> int:
    host = ALL_INTERFACES if config.token else LOOPBACK
    try:
        listener = socket.create_server((host, config.port))
    except OSError as error:
        # The message repeats the address in parentheses.
        reason = (error.strerror or str(error)).partition(" (")[0]
        print(f"error: cannot listen on {host}:{config.port}: {reason}", file=sys.stderr)
        return EXIT_FAILED
    server = _Server(
        uvicorn.Config(
            make_app(service, config.token),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    where = "on all interfaces" if config.token else "on loopback only, API_TOKEN is not set"
    log.info("api ready, listening %s", where, extra={"host": host, "port": config.port})
    server.notifier = Notifier.from_environ(os.environ)
    asyncio.run(server.serve([listener]))
    log.info("api stopped")
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
