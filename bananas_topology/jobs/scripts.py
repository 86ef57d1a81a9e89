"""The Lua scripts: one file per transition, loaded once and then called by digest.

Files in ``lua/transitions`` are complete scripts; files in ``lua/include`` define functions that
several of them share.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """A transition's script. `digest` is what EVALSHA takes."""

    name: str
    source: str
    digest: str


def _load(name: str, *includes: str) -> Script:
    """Assemble a script: the common functions, the included ones, the transition itself."""
    folder = files("bananas_topology.jobs") / "lua"
    paths = [folder / "include" / f"{include}.lua" for include in ("common", *includes)]
    paths.append(folder / "transitions" / f"{name}.lua")
    source = "\n".join(path.read_text("utf-8") for path in paths)
    # SHA-1 because Redis names scripts by it; nothing relies on its strength.
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


ENQUEUE = _load("enqueue")
CLAIM = _load("claim", "job_type", "promote_due")
ACK = _load("ack", "store_result", "record_runs")
RETRY = _load("retry", "record_runs")
BURY = _load("bury", "store_result", "record_runs")
RELEASE = _load("release", "requeue", "record_runs")
RECOVER = _load("recover", "job_type", "requeue", "events")
PROMOTE = _load("promote", "promote_due")
SEE_SCHEDULES = _load("see_schedules", "schedule")
DEFINE_SCHEDULE = _load("define_schedule")
FIRE_SCHEDULE = _load("fire_schedule", "schedule")
ANNOUNCE = _load("announce", "job_type")
ELECT = _load("elect")
RESIGN = _load("resign")
DEPTHS = _load("depths")
HEARTBEAT = _load("heartbeat", "events")
DEREGISTER = _load("deregister", "events")
ADD_HISTORY = _load("add_history")
PUBLISH_JOBS = _load("publish_jobs", "events")
READ_EVENTS = _load("read_events", "events")
CANCEL = _load("cancel", "job_type", "outcomes")
RETRY_DEAD = _load("retry_dead", "dead_list", "outcomes")
PURGE_DEAD = _load("purge_dead", "dead_list", "outcomes")
RESCUE = _load("rescue")

#: Every script defined above. Collected, so that a new one cannot be left out.
ALL = tuple(value for value in tuple(globals().values()) if isinstance(value, Script))
