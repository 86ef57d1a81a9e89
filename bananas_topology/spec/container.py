"""What the containers of a pool or the api get from elsewhere, as values.

All of it is for rendered output: with `up` it means what each field says, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Source:
    """An existing Secret or ConfigMap of that name."""

    name: str
    is_secret: bool


@dataclass(frozen=True, slots=True)
class KeyReference:
    """A key of a Secret or ConfigMap that is the value of a variable.

    `is_optional`: the variable is not set if there is no such key.
    """

    source: Source
    key: str
    is_optional: bool


@dataclass(frozen=True, slots=True)
class VariableSource:
    """A Secret or ConfigMap of which every key is a variable, with `prefix` in front."""

    source: Source
    prefix: str
    is_optional: bool


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory in the container; exactly one of `claim`, `temporary_bytes`, `source` is set.

    `claim` names a PersistentVolumeClaim, `temporary_bytes` is the size of an empty directory, and
    `source` has a file for each of its keys.
    """

    name: str
    path: str
    claim: str | None
    temporary_bytes: int | None
    source: Source | None
    is_read_only: bool


@dataclass(frozen=True, slots=True)
class InitCommand:
    """A command that has to succeed before the process starts; `image` None: the process's."""

    name: str
    command: tuple[str, ...]
    image: str | None


@dataclass(frozen=True, slots=True)
class Container:
    """Variables from existing objects, volumes, and how the container is started.

    `references` are by variable; `env_from` in order, later ones win. `init` runs in order.
    """

    references: Mapping[str, KeyReference] = field(default_factory=dict)
    env_from: tuple[VariableSource, ...] = ()
    volumes: tuple[Volume, ...] = ()
    init: tuple[InitCommand, ...] = ()
    priority_class: str | None = None
    runtime_class: str | None = None

    @property
    def required_variables(self) -> tuple[str, ...]:
        """The variables of references that are not optional."""
        return tuple(name for name, each in self.references.items() if not each.is_optional)
