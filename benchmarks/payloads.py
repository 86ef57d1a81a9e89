"""What every job gets. Standard library only."""

from __future__ import annotations

from typing import TypedDict

#: Bytes of a payload as JSON.
PAYLOAD_BYTES = 100


class Payload(TypedDict):
    """Which job it is, and filling."""

    index: int
    text: str


def payload(index: int, size: int = PAYLOAD_BYTES) -> Payload:
    """A payload of `size` bytes as compact JSON.

    >>> import json
    >>> len(json.dumps(payload(7), separators=(",", ":")))
    100
    """
    bare = len(f'{{"index":{index},"text":""}}')
    return {"index": index, "text": "x" * (size - bare)}
