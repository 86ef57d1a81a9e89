"""Legal, stable names for rendered objects, however long or odd what they are made from. Pure.

A name that had to be changed carries a hash of what it was made from, so that two different ones
never become the same, and the same one never becomes two.
"""

from __future__ import annotations

import hashlib
import re

from bananas_topology.spec.model import Pool

#: Kubernetes hangs up to 11 characters on a workload's name and keeps the result in a label of at
#: most 63 (a StatefulSet's revision, a ReplicaSet's pods).
MAX_WORKLOAD_NAME = 52
#: The longest DNS label, and the longest value of a label.
MAX_LABEL = 63
#: The pool that a section of its own describes.
SCHEDULER = "scheduler"
#: Hexadecimal digits of the hash that a changed name ends with.
_HASH_LENGTH = 8


def dns_label(text: str, limit: int = MAX_WORKLOAD_NAME) -> str:
    """A name of lower-case letters, digits and dashes that begins with a letter (RFC 1035).

    >>> dns_label("worker-high"), dns_label("Worker_High!"), dns_label("9"), dns_label("")
    ('worker-high', 'worker-high-ec2cc827', 'x-9-19581e27', 'x-e3b0c442')
    >>> len(dns_label("a" * 300))
    52
    """
    return _legal(text, re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-"), limit, r"[a-z]")


def label_value(text: str) -> str:
    """A value for a label: letters, digits, dots, dashes, underscores; at most 63.

    >>> label_value("1.4.2"), label_value("sha256:ab/c")
    ('1.4.2', 'sha256-ab-c-6b2b5296')
    """
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return _legal(text, kept, MAX_LABEL, r"[A-Za-z0-9]")


def place_of(pool: Pool) -> str:
    """Where a topology describes a pool, to begin a sentence about one of its fields with."""
    return SCHEDULER if pool.name == SCHEDULER else f"pools.{pool.name}"


def short_hash(text: str) -> str:
    """A few stable hexadecimal digits of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]


def _legal(original: str, kept: str, limit: int, first: str) -> str:
    name = kept if re.match(first, kept) else f"x-{kept}".strip("-._")
    if name == original and len(name) <= limit:
        return name
    stem = name[: limit - _HASH_LENGTH - 1].rstrip("-._")
    return f"{stem}-{short_hash(original)}"
