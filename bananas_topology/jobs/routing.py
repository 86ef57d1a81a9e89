"""Redis Cluster: finding the one node that has our keys, again and again as it moves.

All keys of a prefix with a hash tag are in one slot, so one node at a time has all of them. Which
it is, is asked at each new connection; when the server says that the slot has moved, connections
are closed (see connection.py), and the new ones find its new owner. A server that is no cluster is
asked once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import redis
from redis.connection import Connection, SSLConnection

from bananas_topology.errors import RedisUnsuitable

#: What a key prefix for a cluster must hold: what stands between the braces decides on the slot.
HASH_TAG = re.compile(r"\{[^}]+\}")

NO_HASH_TAG = (
    "the server is a Redis Cluster, where all keys of one Bananas must share a hash slot; set the "
    "key prefix (REDIS_KEY_PREFIX, redis.key_prefix) to one with a hash tag, such as {bananas}"
)

Address = tuple[str, int]


class Router:
    """Leads connections to the node that has the keys of a prefix."""

    def __init__(self, key_prefix: str, seed: Address) -> None:
        self._key = f"{key_prefix}:stats"
        self._has_tag = HASH_TAG.search(key_prefix) is not None
        self._addresses = [seed]
        self._is_cluster: bool | None = None

    def lead(self, connection: Any, connect: Callable[[], None]) -> None:
        """Connect to the owner of the slot, by whichever node answers first.

        Raises:
            RedisUnsuitable: a cluster, and a prefix that does not keep to one slot.
            redis.ConnectionError: none answers.
        """
        for address in self._addresses[:-1]:
            try:
                return self._follow(connection, connect, address)
            except (redis.ConnectionError, redis.TimeoutError):
                connection.disconnect()
        return self._follow(connection, connect, self._addresses[-1])

    def _follow(self, connection: Any, connect: Callable[[], None], address: Address) -> None:
        connection.host, connection.port = address
        connect()
        if self._is_cluster is False:
            return
        owner = self._owner(connection)
        if owner is not None and owner != address:
            connection.disconnect()
            connection.host, connection.port = owner
            connect()
            address = owner
        others = [each for each in self._addresses if each != address]
        self._addresses = [address, *others]

    def _owner(self, connection: Any) -> Address | None:
        """Ask a node who has our keys; None: itself, as far as it knows."""
        nodes = _ask(connection, "CLUSTER", "SLOTS")
        self._is_cluster = isinstance(nodes, list)
        if not isinstance(nodes, list):
            return None
        if not self._has_tag:
            connection.disconnect()
            raise RedisUnsuitable(NO_HASH_TAG)
        for _, _, *members in nodes:
            for host, port, *_ in members:
                self._note((_text(host) or connection.host, port))
        moved = _ask(connection, "EXISTS", self._key)
        if isinstance(moved, redis.exceptions.MovedError):
            # An unnamed host is the one that was asked.
            return (moved.host or connection.host, moved.port)
        return None

    def _note(self, address: Address) -> None:
        if address not in self._addresses:
            self._addresses.append(address)


class RoutedConnection(Connection):
    """A connection to whichever node a router finds."""

    def __init__(self, *, router: Router, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._router = router

    def connect(self) -> None:
        """Connect, unless it is connected."""
        if self._sock is None:
            self._router.lead(self, super().connect)


class RoutedSSLConnection(SSLConnection):
    """The same, encrypted."""

    def __init__(self, *, router: Router, **options: Any) -> None:
        super().__init__(**options)
        self._router = router

    def connect(self) -> None:
        """Connect, unless it is connected."""
        if self._sock is None:
            self._router.lead(self, super().connect)


def _ask(connection: Any, *command: str) -> Any:
    """Send one command; an error reply is returned, not raised."""
    connection.send_command(*command)
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
