"""Valid, stable names for rendered objects, made from any text. Pure.

A name that differs from its text ends with a hash of the text, so that different texts never give
the same name, and the same text always gives the same one.
"""

from __future__ import annotations

import hashlib
import re

from bananas_topology.contract.names import API, SCHEDULER
from bananas_topology.spec.model import Api, Pool

#: Kubernetes appends up to 11 characters to a workload's name and stores the result in a label of
#: at most 63 (a StatefulSet's revision, a ReplicaSet's pods).
MAX_WORKLOAD_NAME = 52
#: The longest DNS label, and the longest value of a label.
MAX_LABEL = 63
#: Hexadecimal digits of the hash at the end of a changed name.
_HASH_LENGTH = 8


def dns_label(text: str, limit: int = MAX_WORKLOAD_NAME) -> str:
    """A name of lower-case letters, digits and dashes that starts with a letter (RFC 1035).

    >>> dns_label("worker-high"), dns_label("Worker_High!"), dns_label("9"), dns_label("")
    ('worker-high', 'worker-high-ec2cc827', 'x-9-19581e27', 'x-e3b0c442')
    >>> len(dns_label("a" * 300))
    52
    """
    return _valid(text, re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-"), limit, r"[a-z]")


def label_value(text: str) -> str:
    """A value for a label: at most 63 letters, digits, dots, dashes and underscores.

    >>> label_value("1.4.2"), label_value("sha256:ab/c")
    ('1.4.2', 'sha256-ab-c-6b2b5296')
    """
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return _valid(text, kept, MAX_LABEL, r"[A-Za-z0-9]")


def path_of(part: Pool | Api) -> str:
    """The path of the section of a pool or the api in the topology file."""
    if isinstance(part, Api):
        return API
    return SCHEDULER if part.name == SCHEDULER else f"pools.{part.name}"


def short_hash(text: str) -> str:
    """The first hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]


def _valid(original: str, kept: str, limit: int, first: str) -> str:
    name = kept if re.match(first, kept) else f"x-{kept}".strip("-._")
    if name == original and len(name) <= limit:
        return name
    stem = name[: limit - _HASH_LENGTH - 1].rstrip("-._")
    return f"{stem}-{short_hash(original)}"
