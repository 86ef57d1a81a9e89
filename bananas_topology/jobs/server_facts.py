"""What a Redis server reports about itself, and its latency: for diagnosis. Read-only."""

from __future__ import annotations

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

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

#: Settings that INFO does not report; a managed service may not disclose them.
_SETTINGS = ("save", "timeout", "maxclients")


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
    string means no snapshots. Sizes in bytes.
    """

    address: str
    is_local: bool
    has_password: bool
    version: str
    is_cluster: bool
    role: str
    is_primary_linked: bool
    replicas: tuple[Replica, ...]
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
        clock_offset_ms = _clock_offset_ms(client)
    settings = _settings(client)
    options = client.connection_pool.connection_kwargs
    max_clients = info.get("maxclients", settings.get("maxclients"))
    return ServerFacts(
        address=address(client),
        is_local="path" in options or options.get("host", "localhost") in _LOCAL_HOSTS,
        has_password=bool(options.get("password")),
        version=str(info.get("redis_version", "0")),
        is_cluster=bool(info.get("cluster_enabled")),
        role=str(info.get("role", "master")),
        is_primary_linked=info.get("master_link_status", "up") == "up",
        replicas=_replicas(info),
        eviction_policy=str(info.get("maxmemory_policy", "noeviction")),
        evicted_keys=int(info.get("evicted_keys", 0)),
        used_memory=int(info.get("used_memory", 0)),
        max_memory=int(info.get("maxmemory", 0)),
        system_memory=int(info.get("total_system_memory", 0)),
        connected_clients=int(info.get("connected_clients", 0)),
        max_clients=None if max_clients is None else int(max_clients),
        rejected_connections=int(info.get("rejected_connections", 0)),
        has_aof=bool(info.get("aof_enabled")),
        is_aof_ok=info.get("aof_last_write_status", "ok") == "ok",
        is_snapshot_ok=info.get("rdb_last_bgsave_status", "ok") == "ok",
        save_rules=settings.get("save"),
        idle_timeout_s=int(settings["timeout"]) if "timeout" in settings else None,
        latency_ms=latency_ms,
        clock_offset_ms=clock_offset_ms,
    )


def _latency_ms(client: redis.Redis, pings: int) -> float:
    taken: list[float] = []
    for _ in range(pings):
        start = monotonic()
        client.ping()
        taken.append((monotonic() - start) * 1000)
    return statistics.median(taken)


def _clock_offset_ms(client: redis.Redis) -> float:
    before = wall_seconds()
    seconds, micros = client.time()
    after = wall_seconds()
    return (seconds + micros / 1e6 - (before + after) / 2) * 1000


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
