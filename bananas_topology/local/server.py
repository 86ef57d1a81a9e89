"""The Redis of a run, as the run itself reads it."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence
from typing import Self

from bananas_topology.errors import BananasTopologyError, ControlFailed
from bananas_topology.jobs.access import is_same_server
from bananas_topology.jobs.connection import check_server, connect, failure, log_in
from bananas_topology.jobs.inspect import Inspector, WorkerView
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.waiting_jobs import WaitingJobs
from bananas_topology.system.clock import monotonic, sleep
from bananas_topology.system.processes import start_time_token

#: Seconds for workers of a killed run to leave: they requeue their jobs at once.
LEAVE_TIMEOUT_S = 3.0

_POLL_S = 0.05

#: Maximum names of workers shown; the rest are counted.
_MAX_NAMES = 3


class Server:
    """A client, and the readers that share it; `log_in` reaches all of them.

    Raises:
        InvalidRedisUrl: the URL is not valid.
    """

    def __init__(self, url: str, key_prefix: str) -> None:
        self._url = url
        self._prefix = key_prefix
        self._client = connect(url, key_prefix=key_prefix)
        self.inspector = Inspector(self._client, Keys(key_prefix))
        self.waiting = WaitingJobs(self._client, Keys(key_prefix))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def check(self, worker_ids: Collection[str]) -> list[str]:
        """Check it before workers with these ids are started; returns warnings, as `check_server`.

        Raises:
            RedisUnavailable, RedisUnsuitable: see `check_server`.
        """
        warnings = check_server(self._client)
        deadline = monotonic() + LEAVE_TIMEOUT_S
        while taken := self._live(worker_ids):
            if monotonic() >= deadline or any(each.host != _host() for each in taken):
                return [*warnings, _taken(taken)]
            sleep(_POLL_S)  # those of a killed run are just leaving
        return warnings

    def _live(self, worker_ids: Collection[str]) -> list[WorkerView]:
        """The workers with these ids that live; those of this host may be dead, but registered."""
        workers = [each for each in self.inspector.workers() if each.worker_id in worker_ids]
        return [each for each in workers if each.host != _host() or start_time_token(each.pid)]

    def is_at(self, url: str) -> bool:
        """Whether a URL is the same server's, perhaps with another login."""
        return is_same_server(url, self._url)

    def check_login(self, url: str) -> None:
        """Check that the server accepts the login of a URL, unless it is the current one.

        Raises:
            ControlFailed: it does not.
        """
        if url == self._url:
            return
        try:
            with connect(url, key_prefix=self._prefix) as client:
                error = failure(client)
        except BananasTopologyError as invalid:
            error = invalid
        if error is not None:
            raise ControlFailed(f"the changed Redis URL cannot be used: {error}")

    def log_in(self, url: str) -> None:
        """Use the login of this URL from now on."""
        if url != self._url:
            log_in(self._client, url, key_prefix=self._prefix)
            self._url = url


def _host() -> str:
    return socket.gethostname()


def _taken(workers: Sequence[WorkerView]) -> str:
    names = ", ".join(each.worker_id for each in workers[:_MAX_NAMES])
    more = f" and {len(workers) - _MAX_NAMES} more" if len(workers) > _MAX_NAMES else ""
    hosts = ", ".join(sorted({each.host for each in workers}))
    return (
        f"workers named {names}{more} already run on {hosts} with this Redis and key prefix, and "
        "two of the same name stop each other: set another redis.key_prefix, or rename the pools"
    )
