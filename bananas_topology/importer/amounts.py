"""CPU, memory and time as Compose and Kubernetes write them, in the notation of a topology."""

from __future__ import annotations

import re
from decimal import Decimal

from bananas_topology.importer.draft import integer
from bananas_topology.units import (
    format_cpu,
    format_duration,
    format_memory,
    parse_cpu_millis,
    parse_duration_ms,
    parse_memory_bytes,
)

#: Kubernetes' decimal suffixes. Compose and a topology read the same letters as binary.
_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def cpu(text: str) -> int | str:
    """A whole number of cores, or millicores.

    >>> cpu("2.0"), cpu("0.5"), cpu("250m")
    (2, '500m', '250m')
    """
    written = format_cpu(parse_cpu_millis(text))
    return int(written) if written.isdigit() else written


def memory(text: str) -> str:
    """Memory in Compose's notation, where all units are binary.

    >>> memory("2G"), memory("512m")
    ('2Gi', '512Mi')
    """
    return format_memory(parse_memory_bytes(text))


def kubernetes_memory(text: str) -> str:
    """Memory in Kubernetes' notation, where ``512M`` is decimal.

    >>> kubernetes_memory("512Mi"), kubernetes_memory("512M")
    ('512Mi', '500000Ki')
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT])", text)
    if match is None:
        return format_memory(parse_memory_bytes(text))
    return format_memory(int(Decimal(match[1]) * _DECIMAL[match[2]]))


def duration(text: str) -> str:
    """A duration as Compose writes it.

    >>> duration("1m30s"), duration("90s")
    ('1m30s', '1m30s')
    """
    return format_duration(parse_duration_ms(text))


def seconds(text: str) -> str:
    """A number of seconds as a duration.

    >>> seconds("300"), seconds("45")
    ('5m', '45s')
    """
    return format_duration(integer(text) * 1000)
