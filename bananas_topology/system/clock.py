"""The two clocks: wall time for storing, monotonic time for measuring.

Leases and due times are decided by Redis's own clock, inside the scripts; these two are for times
within one process.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

#: Seconds since an arbitrary start, never going backwards: for durations and deadlines.
monotonic = time.monotonic

#: Unix seconds: the wall clock at its cheapest, for per-job code.
wall_seconds = time.time

#: Sleep uninterruptibly: for short pauses between attempts only. Loops wait in a `select`.
sleep = time.sleep


def wall_now() -> datetime:
    """The current time in UTC: for storing and displaying, never for measuring."""
    return datetime.now(UTC)


def format_timestamp(moment: datetime) -> str:
    """Format a time as in the wire format: exactly six fractional digits and ``Z``.

    >>> format_timestamp(datetime(2025, 11, 10, 12, 0, tzinfo=UTC))
    '2025-11-10T12:00:00.000000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_timestamp(text: str) -> datetime:
    """Parse RFC 3339 with 0 to 9 fractional digits and ``Z`` or an offset; without one, UTC.

    >>> parse_timestamp("2025-11-10T12:00:00.123456789Z").microsecond
    123456
    >>> parse_timestamp("2025-11-10T14:00:00+02:00") == parse_timestamp("2025-11-10T12:00:00")
    True

    Raises:
        ValueError: the text is not a timestamp.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f'"{text}" is before the year 1 or after 9999 in UTC') from error
