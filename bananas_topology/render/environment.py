"""The order of environment variables in rendered output, and which of them pools can share."""

from __future__ import annotations

from collections.abc import Iterable

from bananas_topology.contract.api import API_SETTINGS
from bananas_topology.contract.worker import WORKER_SETTINGS

#: Variables that stay with each pool, even where other pools have the same value.
OF_ONE_POOL = tuple(each.variable for each in WORKER_SETTINGS if each.is_identity)

_WORKER = [each.variable for each in WORKER_SETTINGS]
_API = [each.variable for each in API_SETTINGS if each.variable not in _WORKER]
_PLACES = {variable: place for place, variable in enumerate((*_API, *_WORKER))}


def in_table_order(names: Iterable[str]) -> list[str]:
    """The contract's variables in the order of the documentation, then others as they come."""
    return sorted(names, key=lambda name: _PLACES.get(name, len(_PLACES)))
