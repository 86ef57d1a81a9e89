"""The Redis of a deployment: what of it a topology says, and what would have lost jobs."""

from __future__ import annotations

import re

from bananas_topology.importer.draft import Draft, Section
from bananas_topology.importer.source import Field
from bananas_topology.units import format_memory, parse_memory_bytes

#: ``--name value``, also of a script or in another word's quotes.
_OPTION = re.compile(r"--(maxmemory-policy|maxmemory|appendonly)\s+(\S+)")

#: Bytes to which a memory limit that we compute is rounded up.
_STEP = 256 * 2**20

_IMAGE = re.compile(r"(^|[/_-])(redis|valkey|keydb|dragonfly)\b")


def is_redis(image: str) -> bool:
    """Whether an image is a server that speaks Redis.

    >>> is_redis("redis:7-alpine"), is_redis("docker.io/valkey/valkey:9.0"), is_redis("bananas-api")
    (True, True, False)
    """
    return bool(_IMAGE.search(image))


def judge_image(draft: Draft, image: Field) -> None:
    """A pinned image is kept; one that is too loose was a mistake."""
    tag = image.text.partition("@")[0].rpartition(":")[2]
    if re.search(r"\d+\.\d+", tag) or "@" in image.text:
        draft.redis.setdefault("managed", {})["image"] = image.text
        image.keep()
    else:
        image.mark_mistake("not pinned to a minor version; `redis.managed.image` has its default")


def judge_command(managed: Section, *commands: Field | None) -> None:
    """Say of each word of the server's command what became of it.

    A limit that it sets itself becomes the managed server's, if the container has none.
    """
    leaves = [leaf for command in commands if command for leaf in command.leaves()]
    options = dict(_OPTION.findall(" ".join(leaf.text for leaf in leaves)))
    if limit := options.get("maxmemory"):
        managed.setdefault("memory", _container_memory(limit))
    faults = _faults(options)
    for leaf in leaves:
        broken = [fault for word, fault in faults.items() if word in leaf.text]
        if broken:
            leaf.mark_mistake("; ".join(broken))
        else:
            leaf.translate("the managed Redis uses 3/4 of its memory, append-only, no eviction")


def _container_memory(limit: str) -> str:
    """What a container needs so that three quarters of it are the server's limit.

    >>> _container_memory("3gb"), _container_memory("4gb")
    ('4Gi', '5632Mi')
    """
    try:
        needed = parse_memory_bytes(limit.strip()) * 4 // 3
    except ValueError:
        return limit
    return format_memory(-(-needed // _STEP) * _STEP)


def _faults(options: dict[str, str]) -> dict[str, str]:
    """What would have lost jobs: a word of the command that does it, and the rule it breaks."""
    faults: dict[str, str] = {}
    policy = options.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        faults[policy] = f"{policy} evicts queued jobs; the managed Redis has noeviction"
    if options.get("appendonly") != "yes":
        faults["redis-server"] = "no append-only file; the managed Redis has one"
    return faults
