"""Importing this module registers every check."""

from __future__ import annotations

from bananas_topology.doctor.checks import (
    host,
    redis,
    running,
    scheduling,
    topology,
    troubleshooting,
)

__all__ = ["host", "redis", "running", "scheduling", "topology", "troubleshooting"]
