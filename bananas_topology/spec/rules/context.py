"""What a rule looks at, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bananas_topology.spec.model import Autoscale, Disruption, Pool, Resources, Topology
from bananas_topology.spec.nodes import Node, Path, find


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault at a path: at its value, or at its key.

    `about` are other paths that it depends on: if one of those is at fault itself, this is not
    reported, for it may be only a consequence.
    """

    path: Path
    message: str
    hint: str | None = None
    at_key: bool = False
    about: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Scalable:
    """A pool or the api: what they have in common, with its path and how to speak of it."""

    path: Path
    subject: str
    replicas: int
    resources: Resources
    autoscale: Autoscale | None
    disruption: Disruption | None


@dataclass(frozen=True, slots=True)
class RuleContext:
    """A topology, the nodes it was made of, and the paths of what was at fault in them."""

    topology: Topology
    root: Node | None
    invalid_paths: frozenset[Path]

    def node(self, path: Path) -> Node | None:
        """What the file has at a path, `defaults:` worked in; None for nothing."""
        return find(self.root, path)

    def has(self, path: Path) -> bool:
        """Whether the file says something at a path."""
        return self.node(path) is not None

    def path_of(self, pool: Pool) -> Path:
        """Where a pool is described."""
        is_last = pool is self.topology.pools[-1]
        return ("scheduler",) if is_last and self.has(("scheduler",)) else ("pools", pool.name)

    def workers(self) -> Iterator[Pool]:
        """The pools that run jobs."""
        return (pool for pool in self.topology.pools if pool.worker.mode != "scheduler-only")

    def scalables(self) -> Iterator[Scalable]:
        """All pools, and the api."""
        for pool in self.topology.pools:
            yield Scalable(
                self.path_of(pool),
                f'pool "{pool.name}"',
                pool.replicas,
                pool.resources,
                pool.autoscale,
                pool.disruption,
            )
        if api := self.topology.api:
            yield Scalable(
                ("api",), "the api", api.replicas, api.resources, api.autoscale, api.disruption
            )

    def is_sure_of(self, *fields: str) -> bool:
        """Whether these fields of all pools are as their author meant them."""
        for path in self.invalid_paths:
            if path[0] == "pools" and (len(path) <= 2 or path[2] in fields):
                return False
            if path[0] == "defaults" and (len(path) == 1 or path[1] in fields):
                return False
            if path == ("scheduler",) and "scheduler" in fields:
                return False
        return True

    def is_doubtful(self, finding: Finding) -> bool:
        """Whether a finding may follow from a fault that is reported already."""
        if any(finding.path[: len(each)] == each for each in self.invalid_paths):
            return True
        return any(self._is_invalid(path) for path in finding.about)

    def _is_invalid(self, path: Path) -> bool:
        paths = [path]
        if path[0] == "pools" and len(path) > 1:
            paths.append(("defaults", *path[2:]))
        return any(
            each[: min(len(each), len(wanted))] == wanted[: min(len(each), len(wanted))]
            for wanted in paths
            for each in self.invalid_paths
        )
