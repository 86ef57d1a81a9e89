"""Bananas: a distributed task queue on Redis whose deployment is one file.

    from bananas_topology import Client, JobContext, job

`job`, `JobContext`, `Retry` and `Bury` are for handlers, `Client` for producers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bananas_topology.handlers import Bury, JobContext, Retry, job

if TYPE_CHECKING:
    from bananas_topology.client import Client

__all__ = ["Bury", "Client", "JobContext", "Retry", "job"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Client brings redis along, a tenth of a second that `bananas validate` must not pay.
    if name == "Client":
        from bananas_topology.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
