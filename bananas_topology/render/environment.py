"""What holds for the environment of a container of ours wherever it runs."""

from __future__ import annotations

from collections.abc import Iterable

from bananas_topology.contract.api import API_VARIABLES
from bananas_topology.contract.worker import VARIABLES

#: What makes a pool that pool stays with it, even where another pool's is the same.
OF_ONE_POOL = (
    "WORKER_MODE",
    "WORKER_CONCURRENCY",
    "WORKER_PRIORITIES",
    "WORKER_JOB_TYPES",
    "WORKER_POOL",
    "ENABLE_SCHEDULER",
)

_OF_THE_API = [each for each in API_VARIABLES if each not in VARIABLES]
_PLACES = {each.name: place for place, each in enumerate((*_OF_THE_API, *VARIABLES))}


def in_table_order(names: Iterable[str]) -> list[str]:
    """The contracts' variables first, as their tables have them, then others as they come."""
    return sorted(names, key=lambda name: _PLACES.get(name, len(_PLACES)))
