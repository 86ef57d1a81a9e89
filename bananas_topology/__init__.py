"""Bananas: a distributed task queue on Redis, deployed from one file.

    from bananas_topology import Client, JobContext, job

Handlers use `job`, `JobContext`, `Retry` and `Bury`; producers use `Client` and `NewJob`.
"""

from __future__ import annotations

# Not imported from typing, nor anything else: with `python -m`, a module of the user's with such a
# name would be found first (see system/import_path.py).
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from bananas_topology.client import Client, NewJob
    from bananas_topology.handlers import Bury, JobContext, Retry, job

__all__ = ["Bury", "Client", "JobContext", "NewJob", "Retry", "job"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    # Imported on first use: Client imports redis, which takes a tenth of a second that validation
    # and health checks must not pay.
    if name in ("Client", "NewJob"):
        from bananas_topology import client

        return getattr(client, name)
    if name in __all__:
        from bananas_topology import handlers

        return getattr(handlers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
