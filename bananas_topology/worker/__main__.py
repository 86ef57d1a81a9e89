"""``python -m bananas_topology.worker``: one worker process, configured by its environment alone.

Exit codes: 0 stopped as asked; 1 the server cannot be used; 2 settings or handlers are wrong, and
will be at the next start; 75 too few slots were left, to be started anew; 128 + n stopped at once
by signal n.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys

from bananas_topology.contract.worker import EXIT_CONFIG, EXIT_FAILED, WorkerConfig, from_env
from bananas_topology.errors import BananasTopologyError, HandlerError, InvalidSettings
from bananas_topology.handlers import load_handlers
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.keys import Keys
from bananas_topology.worker import logs
from bananas_topology.worker.process import Worker, leave
from bananas_topology.worker.run import Task, resolve_tasks

#: Seconds after which a thread that computes lets others in. At Python's own 5 ms, a few handlers
#: that compute would keep the loop from its round trips for tens of milliseconds each.
SWITCH_S = 0.001


def main() -> int:
    """Read the settings, import the handlers, work."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the worker listens, it just ends
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_S)
    # A handler's print() must be seen when it happens, also in a pipe.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    try:
        config = from_env(os.environ)
        logs.configure(config)
        tasks = _tasks(config)
        broker = Broker(
            connect(config.redis_url, key_prefix=config.key_prefix), Keys(config.key_prefix)
        )
        return Worker(config, tasks, broker).run()
    except (InvalidSettings, HandlerError) as error:
        return _refuse(error, EXIT_CONFIG)
    except BananasTopologyError as error:
        return _refuse(error, EXIT_FAILED)


def _tasks(config: WorkerConfig) -> dict[str, Task]:
    tasks = resolve_tasks(load_handlers(config.handlers), config)
    missing = [job_type for job_type in config.job_types if job_type not in tasks]
    if missing:
        logging.getLogger(__name__).warning(
            "job types without a handler here: their jobs stay queued",
            extra={"job_types": ",".join(missing)},
        )
    return tasks


def _refuse(error: BananasTopologyError, code: int) -> int:
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    leave(main())
