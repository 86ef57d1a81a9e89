"""The Redis server of a deployment: its image and command, and settings that would lose jobs."""

from __future__ import annotations

import re

from bananas_topology.importer.draft import Draft, Section
from bananas_topology.importer.source import Field
from bananas_topology.units import format_memory, parse_memory_bytes

#: ``--name value``, also within a script or a quoted argument.
_OPTION = re.compile(r"--(maxmemory-policy|maxmemory|appendonly)\s+(\S+)")

#: Bytes. A computed memory limit is rounded up to a multiple of it.
_ROUND_TO_BYTES = 256 * 2**20

_IMAGE = re.compile(r"(^|[/_-])(redis|valkey|keydb|dragonfly)\b")


def is_redis(image: str) -> bool:
    """Whether an image is Redis or a compatible server.

    >>> is_redis("redis:7-alpine"), is_redis("docker.io/valkey/valkey:9.0"), is_redis("bananas-api")
    (True, True, False)
    """
    return bool(_IMAGE.search(image))


def check_image(draft: Draft, image: Field) -> None:
    """Keep a pinned image; any other is a mistake."""
    tag = image.text.partition("@")[0].rpartition(":")[2]
    if re.search(r"\d+\.\d+", tag) or "@" in image.text:
        draft.redis.setdefault("managed", {})["image"] = image.text
        image.keep()
    else:
        image.mark_mistake(
            "not pinned to a minor version; `redis.managed.image` has a pinned default"
        )


def check_command(managed: Section, *commands: Field | None) -> None:
    """Mark the arguments of the server's command.

    If the container has no memory limit, `managed` gets one derived from ``--maxmemory``.
    """
    leaves = [leaf for command in commands if command for leaf in command.leaves()]
    options = dict(_OPTION.findall(" ".join(leaf.text for leaf in leaves)))
    if limit := options.get("maxmemory"):
        managed.setdefault("memory", _container_memory(limit))
    mistakes = _mistakes(options)
    for leaf in leaves:
        notes = [note for argument, note in mistakes.items() if argument in leaf.text]
        if notes:
            leaf.mark_mistake("; ".join(notes))
        else:
            leaf.translate(
                "the managed Redis sets maxmemory to 3/4 of its limit, appendonly and noeviction"
            )


def _container_memory(limit: str) -> str:
    """The container's limit of which ``--maxmemory`` is three quarters.

    >>> _container_memory("3gb"), _container_memory("4gb")
    ('4Gi', '5632Mi')
    """
    try:
        needed = parse_memory_bytes(limit.strip()) * 4 // 3
    except ValueError:
        return limit
    return format_memory(-(-needed // _ROUND_TO_BYTES) * _ROUND_TO_BYTES)


def _mistakes(options: dict[str, str]) -> dict[str, str]:
    """Settings that would lose jobs: the argument to mark, and a note."""
    mistakes: dict[str, str] = {}
    policy = options.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        mistakes[policy] = f"{policy} evicts queued jobs; the managed Redis uses noeviction"
    if options.get("appendonly") != "yes":
        mistakes["redis-server"] = "no append-only file; the managed Redis has one"
    return mistakes
