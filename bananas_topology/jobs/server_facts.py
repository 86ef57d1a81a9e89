"""What a Redis server reports about itself, and its latency: for diagnosis. Read-only."""

from __future__ import annotations

import socket
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from bananas_topology.errors import RedisUnsuitable
from bananas_topology.jobs.connection import address, translate_errors
from bananas_topology.system.clock import monotonic, wall_seconds

#: Round trips whose median is the latency.
_PINGS = 20

#: Readings of the server's clock, of which the quickest counts.
_CLOCKS = 3

_AOF_STATES = ("aof_last_write_status", "aof_last_bgrewrite_status")

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

#: An address for documentation; to connect a datagram socket sends nothing.
_ELSEWHERE = ("203.0.113.1", 9)

#: Seconds that a server has to answer a stranger.
_PROBE_S = 5.0

#: Settings that INFO does not report; a managed service may not disclose them.
_SETTINGS = ("save", "timeout", "maxclients", "min-replicas-to-write", "protected-mode")


@dataclass(frozen=True, slots=True)
class Replica:
    """A connected replica. `lag_s`: seconds since it last acknowledged anything."""

    address: str
    state: str
    lag_s: int


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server at the time of the request. None: not reported.

    `clock_offset_ms` is its clock less this host's. `save_rules` is the setting `save`; an empty
    string means no snapshots. It refuses writes with fewer online replicas than
    `replicas_to_write`. `is_protected`: without a password, it refuses other hosts. Sizes in bytes.
    """

    address: str
    is_local: bool
    has_password: bool
    is_protected: bool
    version: str
    is_cluster: bool
    role: str
    replicas: tuple[Replica, ...]
    replicas_to_write: int
    eviction_policy: str
    evicted_keys: int
    used_memory: int
    max_memory: int
    system_memory: int
    connected_clients: int
    max_clients: int | None
    rejected_connections: int
    has_aof: bool
    is_aof_ok: bool
    is_snapshot_ok: bool
    save_rules: str | None
    idle_timeout_s: int | None
    latency_ms: float
    clock_offset_ms: float


def read_server(client: redis.Redis, pings: int = _PINGS) -> ServerFacts:
    """Query a server's version, settings and state; the latency is the median of some pings.

    Raises:
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """
    with translate_errors(client):
        info: dict[str, Any] = client.info()
        latency_ms = _latency_ms(client, pings)
        clock_offset_ms = _clock_offset_ms(client, min(pings, _CLOCKS))
    settings = _settings(client)
    options = client.connection_pool.connection_kwargs
    max_clients = info.get("maxclients", settings.get("maxclients"))
    return ServerFacts(
        address=address(client),
        is_local="path" in options or options.get("host", "localhost") in _LOCAL_HOSTS,
        has_password=bool(options.get("password")),
        is_protected=settings.get("protected-mode") == "yes",
        version=str(info.get("redis_version", "0")),
        is_cluster=bool(info.get("cluster_enabled")),
        role=str(info.get("role", "master")),
        replicas=_replicas(info),
        replicas_to_write=int(settings.get("min-replicas-to-write", 0)),
        eviction_policy=str(info.get("maxmemory_policy", "noeviction")),
        evicted_keys=int(info.get("evicted_keys", 0)),
        used_memory=int(info.get("used_memory", 0)),
        max_memory=int(info.get("maxmemory", 0)),
        system_memory=int(info.get("total_system_memory", 0)),
        connected_clients=int(info.get("connected_clients", 0)),
        max_clients=None if max_clients is None else int(max_clients),
        rejected_connections=int(info.get("rejected_connections", 0)),
        has_aof=bool(info.get("aof_enabled")),
        is_aof_ok=all(info.get(name, "ok") == "ok" for name in _AOF_STATES),
        is_snapshot_ok=info.get("rdb_last_bgsave_status", "ok") == "ok",
        save_rules=settings.get("save"),
        idle_timeout_s=int(settings["timeout"]) if "timeout" in settings else None,
        latency_ms=latency_ms,
        clock_offset_ms=clock_offset_ms,
    )


def accepts_anyone(client: redis.Redis) -> bool:
    """Whether a server answers without a password; one on this host, also to other hosts.

    False if that cannot be seen: behind TLS, a Unix socket or a sentinel. A server that
    `is_protected` would count the connection as rejected.
    """
    options = client.connection_pool.connection_kwargs
    host = options.get("host")
    if host is None:
        return False
    try:
        target = own_address() if host in _LOCAL_HOSTS else host
        with socket.create_connection((target, options.get("port", 6379)), _PROBE_S) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def own_address() -> str:
    """The address by which other hosts know this one.

    Raises:
        OSError: it has none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_ELSEWHERE)
        return str(probe.getsockname()[0])


def _latency_ms(client: redis.Redis, pings: int) -> float:
    taken: list[float] = []
    for _ in range(pings):
        start = monotonic()
        client.ping()
        taken.append((monotonic() - start) * 1000)
    return statistics.median(taken)


def _clock_offset_ms(client: redis.Redis, readings: int) -> float:
    """By the quickest of some readings: a pause during one would look like an offset."""
    measured: list[tuple[float, float]] = []
    for _ in range(readings):
        before = wall_seconds()
        seconds, micros = client.time()
        after = wall_seconds()
        measured.append((after - before, seconds + micros / 1e6 - (before + after) / 2))
    return min(measured)[1] * 1000


def _settings(client: redis.Redis) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _SETTINGS:
        try:
            with translate_errors(client):
                values: Any = client.config_get(name)
        except RedisUnsuitable:
            return {}
        found |= values
    return found


def _replicas(info: Mapping[str, Any]) -> tuple[Replica, ...]:
    count = int(info.get("connected_slaves", 0))
    stated = [info.get(f"slave{number}") for number in range(count)]
    return tuple(
        Replica(
            f"{each.get('ip', '')}:{each.get('port', '')}",
            str(each.get("state", "")),
            int(each.get("lag", 0)),
        )
        for each in stated
        if isinstance(each, dict)
    )
