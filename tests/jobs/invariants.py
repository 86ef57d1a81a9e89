"""Where every job is, and the invariants of the stored state.

`assert_each_in_one_place` defines "no job is lost": every job that was ever enqueued is in exactly
one place, and the keys beside it are consistent. It reads key by key, so nothing may run meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import redis

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs.keys import Keys


def places(client: redis.Redis, keys: Keys) -> dict[str, list[str]]:
    """The places of every job, by id; a job that is nowhere is not listed.

    Places: ``queue:high``, ``queue:high:<type>``, ``queue:suspect:high:<type>``, ``scheduled``,
    ``dead``, ``claims:<worker>``, ``completed``.
    """
    found: dict[str, list[str]] = {}

    def note(job_ids: Iterable[bytes], place: str) -> None:
        for job_id in job_ids:
            found.setdefault(_text(job_id), []).append(place)

    for name in _lists(client, keys):
        members: Any = client.lrange(f"{keys.prefix}:{name}", 0, -1)
        note(members, name)
    scheduled: Any = client.zrange(keys.scheduled, 0, -1)
    note(scheduled, "scheduled")
    dead: Any = client.lrange(keys.dead, 0, -1)
    note(dead, "dead")
    for name in _names(client, keys, "claims:*"):
        held: Any = client.hkeys(f"{keys.prefix}:{name}")
        note(held, name)
    for job_id, fields in bodies(client, keys).items():
        if fields is not None and fields.get("status") == "completed":
            found.setdefault(job_id, []).append("completed")
    return found


def bodies(client: redis.Redis, keys: Keys) -> dict[str, dict[str, Any] | None]:
    """The fields of every stored job, by id; None if the value is not a JSON object."""
    found: dict[str, dict[str, Any] | None] = {}
    for name in _names(client, keys, "job:*"):
        stored: Any = client.get(f"{keys.prefix}:{name}")
        try:
            fields = msgspec.json.decode(stored or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            fields = None
        found[name.removeprefix("job:")] = fields if isinstance(fields, dict) else None
    return found


def assert_each_in_one_place(
    client: redis.Redis, keys: Keys, job_ids: Iterable[str]
) -> dict[str, str]:
    """Check the invariants of a prefix, and return where every job is."""
    found = places(client, keys)
    duplicated = {job_id: where for job_id, where in found.items() if len(where) > 1}
    assert not duplicated, f"in several places: {duplicated}"
    missing = sorted(set(job_ids) - set(found))
    assert not missing, f"{len(missing)} jobs are nowhere: {missing[:10]}"
    _assert_tidy(client, keys)
    for job_id, (where,) in found.items():
        lifetime_s = int(client.ttl(keys.job(job_id)))
        if where == "completed":
            assert 0 < lifetime_s <= 86_400, f"{job_id} is {where}, expires in {lifetime_s}"
        elif where == "dead":
            assert lifetime_s <= 604_800, f"{job_id} is {where}, expires in {lifetime_s}"
        else:
            assert lifetime_s < 0, f"{job_id} is in {where}, yet expires in {lifetime_s}"
    return {job_id: where for job_id, (where,) in found.items()}


def _assert_tidy(client: redis.Redis, keys: Keys) -> None:
    """Every list that has jobs, and every worker that holds some, can be found from an index."""
    for name in _lists(client, keys):
        parts = name.split(":", 3)
        if parts[1] == "suspect":
            source = f"{parts[2]}:{parts[3]}"
            assert client.sismember(keys.suspects, source), f"no claim would read {name}"
        elif len(parts) > 2:
            job_type = name.split(":", 2)[2]
            assert client.sismember(keys.parked(parts[1]), job_type), f"no claim would read {name}"
    for name in _names(client, keys, "claims:*"):
        worker_id = name.removeprefix("claims:")
        assert client.zscore(keys.workers, worker_id) is not None, (
            f"{worker_id} would not be reaped"
        )


def _lists(client: redis.Redis, keys: Keys) -> list[str]:
    return [
        name
        for name in _names(client, keys, "queue:*")
        if name.split(":")[1] in (*PRIORITIES, "suspect")
    ]


def _names(client: redis.Redis, keys: Keys, pattern: str) -> list[str]:
    start = f"{keys.prefix}:"
    found = client.scan_iter(match=_literal(start) + pattern, count=1000)
    return sorted({_text(name).removeprefix(start) for name in found})


def _literal(text: str) -> str:
    """Escape a key prefix for use in a glob pattern."""
    return "".join(f"\\{char}" if char in "*?[]\\^" else char for char in text)


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
