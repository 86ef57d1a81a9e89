"""The checks, one module per group. Importing this package registers them all."""

from __future__ import annotations

from bananas_topology.doctor.checks import host, redis, running, topology, troubleshooting

__all__ = ["host", "redis", "running", "topology", "troubleshooting"]
