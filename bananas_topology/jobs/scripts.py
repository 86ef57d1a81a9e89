"""The Lua scripts: one file a transition, sent once and then called by their digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """One transition. `digest` is what EVALSHA takes."""

    name: str
    source: str
    digest: str


def _load(name: str, *shared: str) -> Script:
    """Put a script together: what all have in common, the shared parts it names, itself."""
    folder = files("bananas_topology.jobs") / "lua"
    parts = ("prelude", *shared, name)
    source = "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in parts)
    # SHA-1 because it is how Redis names scripts; nothing rests on its strength.
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


ENQUEUE = _load("enqueue")
CLAIM = _load("claim", "reading", "promoting")
ACK = _load("ack", "concluding")
RETRY = _load("retry")
BURY = _load("bury", "concluding")
RELEASE = _load("release", "returning")
RECOVER = _load("recover", "reading", "returning")
PROMOTE = _load("promote", "promoting")
FIRE = _load("fire")
BEAT = _load("beat")
DEREGISTER = _load("deregister")
REVIVE = _load("revive", "exhuming")
PURGE = _load("purge", "exhuming")

ALL = (
    *(ENQUEUE, CLAIM, ACK, RETRY, BURY, RELEASE, RECOVER, PROMOTE, FIRE, BEAT, DEREGISTER),
    *(REVIVE, PURGE),
)
