"""The payload of every job. Standard library only."""

from __future__ import annotations

from typing import Any

#: Bytes of a payload as JSON.
PAYLOAD_BYTES = 100


#: The index of the job, and padding. No narrower type: some peers validate annotated payloads, and
#: validation is not compared.
Payload = dict[str, Any]


def payload(index: int, size: int = PAYLOAD_BYTES) -> Payload:
    """A payload of `size` bytes as compact JSON.

    >>> import json
    >>> len(json.dumps(payload(7), separators=(",", ":")))
    100
    """
    bare = len(f'{{"index":{index},"text":""}}')
    return {"index": index, "text": "x" * (size - bare)}
