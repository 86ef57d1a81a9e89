"""The two clocks, by name: wall time to store, monotonic time to subtract.

Whatever Redis decides (leases, due times) is read from Redis's own clock inside its scripts;
these two are for what one process tells and measures itself.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

#: Seconds from an arbitrary start, never going backwards: for differences and deadlines.
monotonic = time.monotonic

#: Seconds since 1970: the wall clock at its cheapest, for what is done for each job.
wall_seconds = time.time

#: Wait without being woken: for short pauses between tries only. Loops wait in a `select`.
sleep = time.sleep


def wall_now() -> datetime:
    """The time of day, in UTC: for storing and showing, never for subtracting."""
    return datetime.now(UTC)


def format_timestamp(moment: datetime) -> str:
    """Write a moment as the wire format has it: exactly six digits and ``Z``.

    >>> format_timestamp(datetime(2025, 11, 10, 12, 0, tzinfo=UTC))
    '2025-11-10T12:00:00.000000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_timestamp(text: str) -> datetime:
    """Read RFC 3339 with 0 to 9 fractional digits and ``Z`` or an offset; a naive one is UTC.

    >>> parse_timestamp("2025-11-10T12:00:00.123456789Z").microsecond
    123456
    >>> parse_timestamp("2025-11-10T14:00:00+02:00") == parse_timestamp("2025-11-10T12:00:00")
    True

    Raises:
        ValueError: the text is not such a timestamp.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
