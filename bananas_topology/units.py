"""Parsing and formatting of durations, memory and CPU. Pure functions.

Durations as in Go (``300ms``, ``1.5h``, ``2h45m``) or with days (``7d``), memory as in Kubernetes
or Compose (``512Mi``, ``512M``, ``4gb``), CPU in cores or millicores (``0.5``, ``500m``).
"""

from __future__ import annotations

import re
from decimal import Decimal

_MS_PER_UNIT = {
    "ns": Decimal("0.000001"),
    "us": Decimal("0.001"),
    "µs": Decimal("0.001"),
    "ms": Decimal(1),
    "s": Decimal(1000),
    "m": Decimal(60_000),
    "h": Decimal(3_600_000),
    "d": Decimal(86_400_000),
}
_DURATION_PART = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)(ns|us|µs|ms|s|m|h|d)")

# Kubernetes writes Mi, Compose writes M or mb for the same 2**20. Neither uses a decimal M for
# memory limits, so M is read as in Compose.
_BYTES_PER_UNIT = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_MEMORY = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s?(?:([kmgt])(?:i?b?)|b)?", re.IGNORECASE)
_CPU = re.compile(r"(\d{1,9})m|(\d{1,6}(?:\.\d{1,9})?)")

#: Maximum duration, in milliseconds (100 years): Redis's Lua computes with it exactly.
MAX_DURATION_MS = 100 * 365 * 24 * 3_600_000


def parse_duration_ms(text: str) -> int:
    """Parse a duration as whole milliseconds, rounded up so that a wait is never too short.

    >>> parse_duration_ms("300ms"), parse_duration_ms("1h30m"), parse_duration_ms("1.5s")
    (300, 5400000, 1500)
    >>> parse_duration_ms("7d") == 7 * parse_duration_ms("24h")
    True
    >>> parse_duration_ms("0")
    0

    Raises:
        ValueError: the text is not a duration; the message says what was expected.
    """
    if text == "0":
        return 0
    total, position = Decimal(0), 0
    while match := _DURATION_PART.match(text, position):
        total += Decimal(match[1]) * _MS_PER_UNIT[match[2]]
        position = match.end()
    if position == 0 or position != len(text):
        raise ValueError("expected a duration such as 300ms, 30s, 5m or 1h30m")
    if total > MAX_DURATION_MS:
        raise ValueError("expected a duration of at most 100 years")
    return int(total.to_integral_value(rounding="ROUND_CEILING"))


def format_duration(duration_ms: int) -> str:
    """Format milliseconds as Go does, in the shortest exact form.

    >>> [format_duration(ms) for ms in (0, 300, 1500, 30_000, 5_400_000, 7_200_000)]
    ['0s', '300ms', '1.5s', '30s', '1h30m', '2h']
    """
    if duration_ms < 1000:
        return f"{duration_ms}ms" if duration_ms else "0s"
    hours, rest = divmod(duration_ms, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    seconds = f"{Decimal(rest) / 1000:f}".rstrip("0").rstrip(".") if rest % 1000 else rest // 1000
    parts = [(hours, "h"), (minutes, "m"), (seconds, "s")]
    return "".join(f"{value}{unit}" for value, unit in parts if value)


def format_days(duration_ms: int) -> str:
    """Format whole days as such, anything else as `format_duration`.

    >>> [format_days(ms) for ms in (0, 3_600_000, 86_400_000, 604_800_000, 90_000_000)]
    ['0s', '1h', '1d', '7d', '25h']
    """
    days, rest = divmod(duration_ms, 86_400_000)
    return f"{days}d" if days and not rest else format_duration(duration_ms)


def parse_memory_bytes(text: str) -> int:
    """Parse an amount of memory. Units are binary, as Mi in Kubernetes and M in Compose.

    >>> parse_memory_bytes("512Mi") == parse_memory_bytes("512M") == 512 * 2**20
    True
    >>> parse_memory_bytes("1.5g")
    1610612736

    Raises:
        ValueError: the text is not an amount of memory; the message says what was expected.
    """
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise ValueError("expected an amount of memory such as 512Mi, 4Gi or 512M")
    return int(Decimal(match[1]) * _BYTES_PER_UNIT[(match[2] or "").lower()])


def format_memory(memory_bytes: int) -> str:
    """Format bytes as in Kubernetes, in the largest binary unit that is exact.

    >>> [format_memory(n) for n in (0, 1000, 512 * 2**20, 4 * 2**30, 1536 * 2**20)]
    ['0', '1000', '512Mi', '4Gi', '1536Mi']
    """
    for unit, size in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if memory_bytes and memory_bytes % size == 0:
            return f"{memory_bytes // size}{unit}"
    return str(memory_bytes)


def parse_cpu_millis(text: str) -> int:
    """Parse cores (``0.5``, ``2``) or millicores (``500m``) as millicores.

    >>> parse_cpu_millis("0.5"), parse_cpu_millis("2"), parse_cpu_millis("250m")
    (500, 2000, 250)

    Raises:
        ValueError: the text is not a number of cores, or more precise than a millicore.
    """
    match = _CPU.fullmatch(text)
    if match is None:
        raise ValueError("expected a number of cores such as 2, 0.5 or 500m")
    millis = Decimal(match[1]) if match[1] else Decimal(match[2]) * 1000
    if millis != millis.to_integral_value():
        raise ValueError("expected at most three decimal places: the smallest unit is 1 millicore")
    return int(millis)


def format_cpu(cpu_millis: int) -> str:
    """Format millicores as in Kubernetes.

    >>> format_cpu(2000), format_cpu(500)
    ('2', '500m')
    """
    return f"{cpu_millis}m" if cpu_millis % 1000 else str(cpu_millis // 1000)


def quantity(number: int, noun: str) -> str:
    """Write a number with its noun in the singular or plural.

    >>> quantity(1, "process"), quantity(2, "process"), quantity(1200, "job")
    ('1 process', '2 processes', '1,200 jobs')
    """
    suffix = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{suffix}"
