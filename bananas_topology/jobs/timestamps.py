"""Timestamps in JSON: RFC 3339 in UTC, as in the wire format."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from bananas_topology.system.clock import format_timestamp

Timestamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


def timestamp(moment: datetime | None) -> str | None:
    """A time as JSON; null if it is unknown."""
    return None if moment is None else format_timestamp(moment)
