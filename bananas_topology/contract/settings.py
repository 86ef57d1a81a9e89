"""Settings of a process. The field with the value of a setting is also its only description.

Everything else is derived from the description: how its variable is read and written, the field of
the topology and its schema, how rendered output shares it, how it is imported, its documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from bananas_topology.contract.kinds import Kind
from bananas_topology.contract.names import SCHEDULER

#: Parts of a topology that may have a setting, besides the sections SCHEDULER and API: its top
#: level, and each pool (so `defaults`, too).
TOPOLOGY, POOL = "topology", "pool"


@dataclass(frozen=True, slots=True)
class Setting:
    """The description of one setting.

    `name` is the field with its value. `path` is its place in those `sections` of a topology that
    have it, as in ``logging.level``; empty if it depends on the process, such as its id.
    `when_unset` describes the default in a topology if that is not simply `default`.

    Rendered output keeps a setting with `is_identity` in its pool, even if other pools have the
    same value. A scheduler-only pool cannot set one with `is_for_jobs`, nor inherit it from
    `defaults`, since it runs no jobs.
    """

    name: str
    default: Any
    variable: str
    kind: Kind
    description: str
    path: str = ""
    sections: tuple[str, ...] = (POOL,)
    when_unset: str = ""
    is_identity: bool = False
    is_for_jobs: bool = False
    is_secret: bool = False

    @property
    def default_text(self) -> str:
        """The default as the variable's text; empty if there is none."""
        return self.kind.write(self.default)

    def path_in(self, section: str) -> tuple[str, ...]:
        """The setting's place in a section of the topology; empty if that does not have it.

        What pools call ``scheduler_interval`` is ``interval`` in the section ``scheduler``.
        """
        if section not in self.sections or not self.path:
            return ()
        path = self.path.removeprefix("scheduler_") if section == SCHEDULER else self.path
        return tuple(path.split("."))


def setting(
    default: Any,
    variable: str,
    kind: Kind,
    description: str,
    path: str = "",
    **options: Any,
) -> Any:
    """A dataclass field with the description of its setting; `options` as in `Setting`.

    `default` may be ``dict``, for an empty one.
    """
    described = {"variable": variable, "kind": kind, "description": description, "path": path}
    metadata = {**described, **options}
    if default is dict:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def settings_of(config: type[Any]) -> tuple[Setting, ...]:
    """The settings that the fields of a dataclass describe, in their order."""
    return tuple(
        Setting(
            name=each.name,
            default={} if each.default is MISSING else each.default,
            **each.metadata,
        )
        for each in fields(config)
    )


def read_variables(
    env: Mapping[str, str], settings: Iterable[Setting]
) -> tuple[dict[str, Any], list[str]]:
    """Read an environment: values by field name, and a sentence for each invalid variable.

    An empty variable counts as not set.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for each in settings:
        text = env.get(each.variable, "")
        if text == "":
            continue
        try:
            values[each.name] = each.kind.read(text)
        except ValueError as error:
            got = "invalid (value hidden)" if each.is_secret else f'"{text}"'
            problems.append(f"{each.variable} is {got}: {error}")
    return values, problems


def write_variables(config: Any, settings: Iterable[Setting]) -> dict[str, str]:
    """Write the settings of a config as variables, without those whose text is empty."""
    written = {each.variable: each.kind.write(getattr(config, each.name)) for each in settings}
    return {name: text for name, text in written.items() if text != ""}


def check_exclusive(env: Mapping[str, str], variable: str, file_variable: str) -> list[str]:
    """A sentence if both a variable and the one that names a file with its value are set."""
    if env.get(variable) and env.get(file_variable):
        return [f"{variable} and {file_variable} are both set: set only one of them"]
    return []
