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
from urllib.parse import urlsplit

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import RedisUnsuitable
from bananas_topology.jobs.access import ServerUrl
from bananas_topology.system.host_names import hold_name

log = logging.getLogger(__name__)


def with_worker_id(config: WorkerConfig) -> WorkerConfig:
    """Give a worker the first free id of this host; a configured id is kept."""
    if config.worker_id:
        return config
    host = socket.gethostname()
    scope = f"{_address(_redis_url(config))} {config.key_prefix}"
    for number in count(1):
        worker_id = host if number == 1 else f"{host}-{number}"
        try:
            is_free = hold_name(f"worker {worker_id} {scope}")
        except OSError as error:
            log.warning("cannot tell whether another worker has this id: %s", error)
            is_free = True
        if is_free:
            break
    return replace(config, worker_id=worker_id)


def _redis_url(config: WorkerConfig) -> str:
    url = ServerUrl.of(config)
    try:
        return url.read()
    except RedisUnsuitable:  # reported when connecting
        return url.url_file


def _address(redis_url: str) -> str:
    """The server that a URL names, however it is written, without credentials.

    >>> _address("redis://:secret@LOCALHOST?timeout=1") == _address("redis://127.0.0.1:6379/0")
    True
    """
    try:
        parts = urlsplit(redis_url)
        host, port = parts.hostname or "", parts.port or 6379
    except ValueError:  # several sentinels; or not a valid URL, which is reported when connecting
        return redis_url
    return f"{'127.0.0.1' if host == 'localhost' else host}:{port}/{parts.path.strip('/') or 0}"
