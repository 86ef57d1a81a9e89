"""Bananas: a distributed task queue on Redis whose deployment is one file.

    from bananas_topology import Client, JobContext, job

`job`, `JobContext`, `Retry` and `Bury` are for handlers, `Client` and `NewJob` for producers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bananas_topology.client import Client, NewJob
    from bananas_topology.handlers import Bury, JobContext, Retry, job

__all__ = ["Bury", "Client", "JobContext", "NewJob", "Retry", "job"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Imported when asked for: Client brings redis along, a tenth of a second that validation must
    # not pay, and a health check needs none of it.
    if name in ("Client", "NewJob"):
        from bananas_topology import client

        return getattr(client, name)
    if name in __all__:
        from bananas_topology import handlers

        return getattr(handlers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
