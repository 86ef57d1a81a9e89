"""Names that the topology, the processes and the rendered files have to agree on."""

from __future__ import annotations

#: Components besides the pools; validation rejects a pool with one of these names.
SCHEDULER, API, REDIS = "scheduler", "api", "redis"

#: URL schemes of the Redis servers that clients can connect to.
REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
