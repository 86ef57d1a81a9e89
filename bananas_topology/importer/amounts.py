"""CPU, memory and time as Compose and Kubernetes write them, in the notation of a topology."""

from __future__ import annotations

import math
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

#: Kubernetes' suffixes by their power of ten. Compose and a topology read M as binary.
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
#: Kubernetes' suffixes by their power of 1024.
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_QUANTITY = re.compile(r"(\d{1,20}\.?\d{0,20}|\.\d{1,20})(?:([eE])([+-]?\d{1,2})|([A-Za-z]*))")


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

    >>> kubernetes_memory("512Mi"), kubernetes_memory("512M"), kubernetes_memory("1e9")
    ('512Mi', '500000Ki', '1000000000')
    """
    return format_memory(math.ceil(_quantity(text)))


def kubernetes_cpu(text: str) -> int | str:
    """CPU in Kubernetes' notation, where a part of a millicore counts as a whole one.

    >>> kubernetes_cpu("2"), kubernetes_cpu("1500000u"), kubernetes_cpu(".25"), kubernetes_cpu("1n")
    (2, '1500m', '250m', '1m')
    """
    written = format_cpu(math.ceil(_quantity(text) * 1000))
    return int(written) if written.isdigit() else written


def _quantity(text: str) -> Decimal:
    """
    Raises:
        ValueError: the text is not a quantity of Kubernetes.
    """
    match = _QUANTITY.fullmatch(text)
    if match is not None:
        number, is_scientific, exponent, suffix = match.groups()
        if is_scientific:
            return Decimal(number).scaleb(int(exponent))
        if suffix in _DECIMAL:
            return Decimal(number).scaleb(_DECIMAL[suffix])
        if suffix in _BINARY:
            return Decimal(number) * Decimal(1024) ** _BINARY[suffix]
    raise ValueError("expected a quantity such as 500m, 2, 512Mi or 4Gi")


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
