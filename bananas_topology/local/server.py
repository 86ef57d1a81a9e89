"""The Redis of a run, as the run itself reads it."""

from __future__ import annotations

from typing import Self

from bananas_topology.errors import BananasTopologyError, ControlFailed
from bananas_topology.jobs.access import is_same_server
from bananas_topology.jobs.connection import check_server, connect, failure, log_in
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.waiting_jobs import WaitingJobs


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

    def check(self) -> list[str]:
        """Check its version and settings: see `check_server`."""
        return check_server(self._client)

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
