"""Redis Cluster: connects to the node that owns the keys of a prefix, also after it changes.

All keys of a prefix with a hash tag share a slot, so one node owns all of them. Every new
connection asks which node that is. When a server replies that the slot has moved, connections are
closed (see connection.py) and new ones find the new owner. A server that is not a cluster is asked
only once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import redis
from redis.connection import Connection, SSLConnection

from bananas_topology.errors import RedisUnsuitable

#: A key prefix for a cluster must contain a hash tag: the text in braces determines the slot.
HASH_TAG = re.compile(r"\{[^}]+\}")

NO_HASH_TAG = (
    "the server is a Redis Cluster, where all keys of a deployment must share a hash slot; set the "
    "key prefix (REDIS_KEY_PREFIX, redis.key_prefix) to one with a hash tag, such as {bananas}"
)

Address = tuple[str, int]

#: Minimum seconds for each of several nodes that are asked in turn.
MIN_NODE_TIMEOUT_S = 0.3


def shared_timeout(timeout_s: float, nodes: int) -> float:
    """The timeout for each of several nodes asked in turn, of `timeout_s` for all of them.

    >>> shared_timeout(1.5, 1), shared_timeout(1.5, 3), shared_timeout(1.5, 30)
    (1.5, 0.5, 0.3)
    """
    return max(timeout_s / max(nodes, 1), MIN_NODE_TIMEOUT_S)


class Router:
    """Connects to the node that owns the keys of a prefix."""

    def __init__(self, key_prefix: str, seed: Address) -> None:
        self._key = f"{key_prefix}:stats"
        self._has_tag = HASH_TAG.search(key_prefix) is not None
        self._addresses = [seed]
        self._is_cluster: bool | None = None

    def connect_to_owner(self, connection: Any, connect: Callable[[], None]) -> None:
        """Connect to the owner of the slot, asking the known nodes in turn.

        Raises:
            RedisUnsuitable: the server is a cluster and the prefix has no hash tag.
            redis.ConnectionError: no node answers.
        """
        timeout_s = connection.socket_timeout
        _limit(connection, shared_timeout(timeout_s, len(self._addresses)))
        try:
            for address in self._addresses[:-1]:
                try:
                    return self._connect_via(connection, connect, address)
                except (redis.ConnectionError, redis.TimeoutError):
                    connection.disconnect()
            return self._connect_via(connection, connect, self._addresses[-1])
        finally:
            _limit(connection, timeout_s)

    def _connect_via(self, connection: Any, connect: Callable[[], None], address: Address) -> None:
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
        others = [other for other in self._addresses if other != address]
        self._addresses = [address, *others]

    def _owner(self, connection: Any) -> Address | None:
        """Ask a node for the owner of the keys; None if it is the owner itself."""
        nodes = _ask(connection, "CLUSTER", "SLOTS")
        self._is_cluster = isinstance(nodes, list)
        if not isinstance(nodes, list):
            return None
        if not self._has_tag:
            connection.disconnect()
            raise RedisUnsuitable(NO_HASH_TAG)
        for _, _, *members in nodes:
            for host, port, *_ in members:
                self._remember((_text(host) or connection.host, port))
        moved = _ask(connection, "EXISTS", self._key)
        if isinstance(moved, redis.exceptions.MovedError):
            # An empty host means the node that was asked.
            return (moved.host or connection.host, moved.port)
        return None

    def _remember(self, address: Address) -> None:
        if address not in self._addresses:
            self._addresses.append(address)


class RoutedConnection(Connection):
    """A connection to the node that a router finds."""

    def __init__(self, *, router: Router, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis-py's is not annotated
        self._router = router

    def connect(self) -> None:
        """Connect, unless already connected."""
        if self._sock is None:
            self._router.connect_to_owner(self, super().connect)


class RoutedSSLConnection(SSLConnection):
    """A TLS connection to the node that a router finds."""

    def __init__(self, *, router: Router, **options: Any) -> None:
        super().__init__(**options)
        self._router = router

    def connect(self) -> None:
        """Connect, unless already connected."""
        if self._sock is None:
            self._router.connect_to_owner(self, super().connect)


def _limit(connection: Any, timeout_s: float) -> None:
    """Set the timeouts of a connection that may be open."""
    connection.socket_timeout = connection.socket_connect_timeout = timeout_s
    if connection._sock is not None:
        connection._sock.settimeout(timeout_s)


def _ask(connection: Any, *command: str) -> Any:
    """Send one command; an error reply is returned instead of raised."""
    connection.send_command(*command)
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
