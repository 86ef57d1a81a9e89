"""The id of a worker whose environment sets none.

It is the name of the host, so that a restarted worker has the same one and recovers its claims at
once. If a running worker on this host has it, as when two are started by hand, the next number is
added: two processes with one id would take over each other's jobs.
"""

from __future__ import annotations

import logging
import socket
from dataclasses import replace
from itertools import count

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.system.host_names import hold_name

log = logging.getLogger(__name__)


def with_worker_id(config: WorkerConfig) -> WorkerConfig:
    """Give a worker the first free id of this host; a configured id is kept."""
    if config.worker_id:
        return config
    host = socket.gethostname()
    for number in count(1):
        worker_id = host if number == 1 else f"{host}-{number}"
        try:
            # Whatever the server: many URLs can name the same one.
            is_free = hold_name(f"worker {worker_id} {config.key_prefix}")
        except OSError as error:
            log.warning("cannot tell whether another worker has this id: %s", error)
            is_free = True
        if is_free:
            break
    return replace(config, worker_id=worker_id)
