"""The program of one worker process, configured by its environment alone.

Exit codes: 0 stopped by a signal; 1 Redis or a port cannot be used; 2 settings or handlers are
invalid, which a restart does not change; 75 restart it, too few slots were left; 76 restart it, it
reached a limit such as max_jobs; 77 restart it with its current password, Redis has denied access
for a minute; 128 + n stopped immediately by signal n.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from bananas_topology.contract.exit_codes import EXIT_CONFIG, EXIT_FAILED
from bananas_topology.contract.values import is_without_effect
from bananas_topology.contract.worker import WorkerConfig, from_env
from bananas_topology.errors import BananasTopologyError, HandlerError, InvalidSettings
from bananas_topology.handler_modules import load_handlers
from bananas_topology.jobs.access import ServerUrl
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.import_path import installed_first
from bananas_topology.worker import logs
from bananas_topology.worker.exit_hooks import exit_process, run_exit_hooks
from bananas_topology.worker.identity import with_worker_id
from bananas_topology.worker.process import Worker
from bananas_topology.worker.run import BoundHandler, bind_handlers
from bananas_topology.worker.shutdown import EXIT_HOOKS_S
from bananas_topology.worker.startup import Startup

if TYPE_CHECKING:
    from bananas_topology.worker.exporter import HealthServer

__all__ = ["exit_process", "main"]

#: Seconds after which a busy thread yields the interpreter. At Python's default of 5 ms, a few
#: CPU-bound handlers would delay the loop's round trips to Redis by tens of milliseconds.
SWITCH_INTERVAL_S = 0.001


def main() -> int:
    """Read the settings, import the handlers, and run the worker; returns the exit code."""
    _exit_on_signals()
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # Shows a handler's print() at once, also when standard output is a pipe. To type checkers it
    # may be any text stream.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    try:
        config = with_worker_id(from_env(os.environ))
        logs.configure(config)
        _warn_of_ignored_variables()
        with installed_first():
            startup = Startup(config)
        with startup:
            handlers = _handlers(config)
        with installed_first():
            worker = _make_worker(config, handlers, startup.health_server)
        logs.protect()
        return worker.run()
    except (InvalidSettings, HandlerError) as error:
        return _fail(error, EXIT_CONFIG)
    except BananasTopologyError as error:
        return _fail(error, EXIT_FAILED)


def _exit_on_signals() -> None:
    """Exit on a signal, until the worker handles it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getpid() == 1:
        # The kernel discards what the first process of a container does not handle: a pod that is
        # deleted while it starts would go on to claim jobs, and be killed with them.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    if os.getpid() == 1:
        os._exit(0)
    signal.signal(number, signal.SIG_DFL)  # a child that a handler module has forked
    os.kill(os.getpid(), number)


def _handlers(config: WorkerConfig) -> dict[str, BoundHandler]:
    handlers = bind_handlers(load_handlers(config.handlers), config)
    missing = [job_type for job_type in config.job_types if job_type not in handlers]
    if missing:
        logging.getLogger(__name__).warning(
            "no handler for some job types: their jobs stay queued",
            extra={"job_types": ",".join(missing)},
        )
    return handlers


def _warn_of_ignored_variables() -> None:
    ignored = sorted(name for name in os.environ if is_without_effect(name))
    if ignored:
        logging.getLogger(__name__).warning(
            "variables of the Go version ignored: they have no effect here",
            extra={"variables": ",".join(ignored)},
        )


def _make_worker(
    config: WorkerConfig, handlers: dict[str, BoundHandler], health_server: HealthServer | None
) -> Worker:
    client = connect(ServerUrl.of(config), key_prefix=config.key_prefix)
    return Worker(config, handlers, Broker(client, Keys(config.key_prefix)), health_server)


def _fail(error: BananasTopologyError, code: int) -> int:
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
    run_exit_hooks(code, EXIT_HOOKS_S)  # of the handler modules
    return code
