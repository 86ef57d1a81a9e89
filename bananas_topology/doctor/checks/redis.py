"""Checks of the Redis server: whether queues on it are durable, reachable and quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bananas_topology.doctor.check import Group, Verdict, check, failure, graded, ok, warning
from bananas_topology.doctor.examination import Examination
from bananas_topology.doctor.wording import size
from bananas_topology.units import quantity

if TYPE_CHECKING:
    # Also checks of the API, which imports nothing that reads a topology.
    from bananas_topology.spec.model import Api, Pool

#: Connections of one process: a worker's loop, its wait for wake-ups, and a scrape; of the API, a
#: connection per thread of its pool.
_PER_WORKER = 4
_PER_API = 40


@check(
    "DR201", Group.REDIS, "Reachability",
    "the configured server answers within 5 s",
    "start the server, or correct redis.url, REDIS_URL or --redis-url",
)  # fmt: skip
def server_answers(examination: Examination) -> Verdict:
    """Nothing works without the server."""
    if examination.live is None and examination.is_configured:
        return failure(examination.no_live_facts)
    return ok(f"{examination.server.address} answers")


@check(
    "DR202", Group.REDIS, "Server version",
    "Redis 6.2 or newer, or Valkey",
    "upgrade the server",
)  # fmt: skip
def server_is_new_enough(examination: Examination) -> Verdict:
    """The scripts use commands of Redis 6.2."""
    version = examination.server.version
    parts = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return ok(version) if parts >= [6, 2] else failure(version)


@check(
    "DR203", Group.REDIS, "Eviction",
    "maxmemory-policy is noeviction, and no key has been evicted",
    "redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf",
)  # fmt: skip
def nothing_is_evicted(examination: Examination) -> Verdict:
    """Any other policy removes queued jobs when memory is full."""
    server = examination.server
    if server.eviction_policy != "noeviction":
        return failure(f"maxmemory-policy is {server.eviction_policy}")
    if server.evicted_keys:
        return failure(
            f"{server.evicted_keys:,} keys evicted since the server started",
            "compare the producers' records with `bananas queues`: evicted jobs are lost",
        )
    return ok("maxmemory-policy is noeviction")


@check(
    "DR204", Group.REDIS, "Persistence",
    "append-only file on, and its last write succeeded",
    "redis-cli CONFIG SET appendonly yes, and in redis.conf",
)  # fmt: skip
def server_persists(examination: Examination) -> Verdict:
    """Without persistence a restart loses every queued job; with snapshots, the latest ones."""
    server = examination.server
    if not (server.is_aof_ok and server.is_snapshot_ok):
        return failure(
            "the last write to disk failed", "free disk space, and read the server's log"
        )
    if server.has_aof:
        return ok("append-only file on")
    if server.save_rules is None:
        return warning("no append-only file; the server does not report its snapshots")
    if server.save_rules:
        return warning(f'snapshots only (save "{server.save_rules}")')
    return failure("no append-only file and no snapshots")


@check(
    "DR205", Group.REDIS, "Memory headroom",
    "less than 75 % of maxmemory used; without it, used memory twice (a fork copies) within RAM",
    "bananas dead purge --older-than 72h; lower keep.completed, keep.results; or raise maxmemory",
)  # fmt: skip
def server_has_memory(examination: Examination) -> Verdict:
    """A full server refuses jobs; one that outgrows the host while it forks is killed."""
    server = examination.server
    used = server.used_memory
    if server.max_memory:
        measured = f"{size(used)} of maxmemory {size(server.max_memory)} used"
        if used < 0.75 * server.max_memory and _outgrows(server.max_memory, server.system_memory):
            return warning(
                f"maxmemory {size(server.max_memory)} of {size(server.system_memory)} RAM "
                "leaves no room for a fork",
                "set maxmemory to at most three quarters of the memory",
            )
        return graded(used / server.max_memory, 0.75, 0.9, measured)
    if not server.system_memory:
        return ok(f"{size(used)} used")
    measured = f"{size(used)} used of {size(server.system_memory)} RAM, no maxmemory"
    return graded(2 * used / server.system_memory, 1, 1.6, measured)


def _outgrows(max_memory: int, system_memory: int) -> bool:
    return 0 < system_memory < max_memory / 0.8


@check(
    "DR206", Group.REDIS, "Connections",
    "connected clients and those that the topology needs within 80 % of maxclients; none rejected",
    "raise maxclients, and the server's open-files limit with it",
)  # fmt: skip
def server_has_connections(examination: Examination) -> Verdict:
    """A worker that gets no connection claims nothing, and its lease expires."""
    server = examination.server
    needed, ours = _connections_needed(examination)
    if server.max_clients is None:
        return ok(f"{server.connected_clients:,} connected; the server does not report maxclients")
    others = max(0, server.connected_clients - ours)
    most = max(server.connected_clients, needed + others)
    needs = f"the topology needs up to {needed:,}, " if needed else ""
    measured = f"{server.connected_clients:,} connected, {needs}maxclients {server.max_clients:,}"
    if server.rejected_connections and most < 0.8 * server.max_clients:
        return warning(f"{server.rejected_connections:,} connections rejected since its start")
    return graded(most / max(1, server.max_clients), 0.8, 1, measured)


def _connections_needed(examination: Examination) -> tuple[int, int]:
    """What the topology needs at full scale, and at most has now."""
    if examination.file is None or examination.file.topology is None:
        return 0, 0
    topology = examination.topology
    needed = sum(map(_most_replicas, topology.pools)) * _PER_WORKER
    ours = len(examination.now.live_workers) * _PER_WORKER
    if topology.api is not None:
        needed += _most_replicas(topology.api) * _PER_API
        ours += topology.api.replicas * _PER_API if ours else 0
    return needed, ours


def _most_replicas(part: Pool | Api) -> int:
    return part.autoscale.max_replicas if part.autoscale else part.replicas


@check(
    "DR207", Group.REDIS, "Replication",
    "connected to a primary that accepts writes, and whose replicas acknowledged within 10 s",
    "redis-cli INFO replication",
)  # fmt: skip
def replicas_keep_up(examination: Examination) -> Verdict:
    """A replica refuses writes; one that lags loses jobs at a failover."""
    server = examination.server
    if server.role != "master":
        return failure(
            f"{server.address} is a replica",
            "name the primary in redis.url, or use redis+sentinel://",
        )
    online = [each for each in server.replicas if each.state == "online"]
    if len(online) < server.replicas_to_write:
        return failure(
            f"{quantity(len(online), 'replica')} online, writes require "
            f"{server.replicas_to_write:,} (min-replicas-to-write)",
            "start the replicas, or redis-cli CONFIG SET min-replicas-to-write 0",
        )
    lagging = [each for each in server.replicas if each.lag_s > 10 or each.state != "online"]
    if lagging:
        shown = ", ".join(f"{each.address} {each.state}, {each.lag_s} s" for each in lagging)
        return warning(f"replicas behind: {shown}")
    return ok(f"primary, {quantity(len(server.replicas), 'replica')}")


@check(
    "DR208", Group.REDIS, "Latency",
    "median round trip below 20 ms",
    "move workers close to the server; look for slow commands with redis-cli SLOWLOG GET",
)  # fmt: skip
def server_is_quick(examination: Examination) -> Verdict:
    """Each batch of claims is a round trip."""
    latency_ms = examination.server.latency_ms
    return graded(latency_ms, 20, 250, f"{latency_ms:.1f} ms")


@check(
    "DR209", Group.REDIS, "Clock of this host",
    "within 1 s of the server's clock",
    "synchronize clocks: timedatectl set-ntp true",
)  # fmt: skip
def clocks_agree(examination: Examination) -> Verdict:
    """Timestamps in jobs and logs are the hosts'; due times and leases are the server's."""
    offset_s = examination.server.clock_offset_ms / 1000
    return graded(abs(offset_s), 1, 60, f"{offset_s:+.3f} s")


@check(
    "DR210", Group.REDIS, "Authentication",
    "a password, or a server that only this host can reach",
    "set requirepass or an ACL, and put the password into REDIS_URL",
)  # fmt: skip
def server_is_protected(examination: Examination) -> Verdict:
    """Who can write to the queue can run any handler with any payload."""
    server = examination.server
    if examination.accepts_anyone and server.is_local:
        return warning(
            "accepts connections from other hosts without a password",
            "set requirepass, and put the password into REDIS_URL; or bind 127.0.0.1, which for a "
            "container means to publish 127.0.0.1:6379:6379",
        )
    if examination.accepts_anyone or not (server.has_password or server.is_local):
        return warning(f"{server.address} accepts connections without a password")
    return ok("password used" if server.has_password else "on this host")


@check(
    "DR211", Group.REDIS, "Idle timeout",
    "the server's `timeout` is 0, or at least 60 s",
    "redis-cli CONFIG SET timeout 0",
)  # fmt: skip
def idle_connections_live(examination: Examination) -> Verdict:
    """Workers hold connections that they use every few seconds."""
    timeout_s = examination.server.idle_timeout_s
    if timeout_s is None:
        return ok("the server does not report it")
    measured = f"timeout {timeout_s} s"
    return warning(measured) if 0 < timeout_s < 60 else ok(measured)


@check(
    "DR212", Group.REDIS, "Cluster slots",
    "redis.key_prefix has a {hash tag} on Redis Cluster",
    'set redis: {key_prefix: "{bananas}"}',
)  # fmt: skip
def keys_share_a_slot(examination: Examination) -> Verdict:
    """Scripts touch several keys, which a cluster allows only within one slot."""
    if not examination.server.is_cluster:
        return ok("not a cluster")
    prefix = examination.topology.redis.key_prefix
    begin = prefix.find("{")
    is_tagged = begin >= 0 and prefix.find("}", begin) > begin + 1
    return ok(f"prefix {prefix}") if is_tagged else failure(f"prefix {prefix}")
