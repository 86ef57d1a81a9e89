"""What every rule needs: its declaration, its input, and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bananas_topology.contract.names import API, SCHEDULER
from bananas_topology.contract.values import Mode
from bananas_topology.spec.container import Volume
from bananas_topology.spec.diagnostics import Code, declare
from bananas_topology.spec.model import Autoscale, Disruption, Pool, Resources, Topology
from bananas_topology.spec.nodes import KeyPath, Node, find


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule is violated at a path: at its value, or at its key.

    `depends_on` are other paths that the rule looked at: if one of them is invalid, the violation
    may be only a consequence, and is not reported.
    """

    path: KeyPath
    message: str
    hint: str | None = None
    at_key: bool = False
    depends_on: tuple[KeyPath, ...] = ()


@dataclass(frozen=True, slots=True)
class Scalable:
    """What a pool and the api have in common; `subject` names it in messages."""

    path: KeyPath
    subject: str
    replicas: int
    resources: Resources
    autoscale: Autoscale | None
    disruption: Disruption | None
    volumes: tuple[Volume, ...]

    @property
    def is_api(self) -> bool:
        """Whether it is the api."""
        return self.path == (API,)


@dataclass(frozen=True, slots=True)
class RuleContext:
    """A topology, the nodes it was made of, and the paths of what was invalid in them."""

    topology: Topology
    root: Node | None
    invalid_paths: frozenset[KeyPath]

    def node(self, path: KeyPath) -> Node | None:
        """The node at a path, with `defaults:` applied; None if there is none."""
        return find(self.root, path)

    def has(self, path: KeyPath) -> bool:
        """Whether the file has something at a path."""
        return self.node(path) is not None

    def path_of(self, pool: Pool) -> KeyPath:
        """The path of a pool's section."""
        is_last = pool is self.topology.pools[-1]
        return (SCHEDULER,) if is_last and self.has((SCHEDULER,)) else ("pools", pool.name)

    def workers(self) -> Iterator[Pool]:
        """The pools that run jobs."""
        return (pool for pool in self.topology.pools if pool.worker.mode is not Mode.SCHEDULER_ONLY)

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
                pool.container.volumes,
            )
        if api := self.topology.api:
            yield Scalable(
                (API,),
                "the api",
                api.replicas,
                api.resources,
                api.autoscale,
                api.disruption,
                api.container.volumes,
            )

    def are_valid(self, *fields: str) -> bool:
        """Whether these fields are valid in all pools."""
        for path in self.invalid_paths:
            if path[0] == "pools" and (len(path) <= 2 or path[2] in fields):
                return False
            if path[0] == "defaults" and (len(path) == 1 or path[1] in fields):
                return False
            if path == (SCHEDULER,) and SCHEDULER in fields:
                return False
        return True

    def may_be_consequence(self, violation: Violation) -> bool:
        """Whether a violation may follow from an error that is reported already."""
        if any(violation.path[: len(each)] == each for each in self.invalid_paths):
            return True
        return any(self._is_invalid(path) for path in violation.depends_on)

    def _is_invalid(self, path: KeyPath) -> bool:
        paths = [path]
        if path[0] == "pools" and len(path) > 1:
            paths.append(("defaults", *path[2:]))
        return any(
            each[: min(len(each), len(wanted))] == wanted[: min(len(each), len(wanted))]
            for wanted in paths
            for each in self.invalid_paths
        )


Check = Callable[[RuleContext], Iterator[Violation]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A check, with the code of its diagnostics."""

    code: Code
    check: Check


#: All rules; each module of `rules` adds its own.
RULES: list[Rule] = []


def rule(code: str, meaning: str, example: str) -> Callable[[Check], Check]:
    """Declare a function as the rule with this code."""

    def add(check: Check) -> Check:
        RULES.append(Rule(declare(code, meaning, example), check))
        return check

    return add
