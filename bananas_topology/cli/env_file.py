"""`--env-file` and ``.env``, for every command that reads a topology.

The variables of the files are added to the environment before the command runs, so that no command
has to know about them, and processes that it starts inherit them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from bananas_topology.cli import console
from bananas_topology.cli.options import DEFAULT_FILE
from bananas_topology.errors import InvalidEnvFile

#: The parameter, and where the shell's own variables and those of the files are kept.
_PARAMETER = "env_file"
_SHELL = "bananas_topology.shell"
_VARIABLES = "bananas_topology.variables"


class TopologyCommand(TyperCommand):
    """A command with the option `--env-file`. Its topology is the first of its files."""

    def __init__(self, *arguments: Any, params: list[Any] | None = None, **more: Any) -> None:
        option = TyperOption(
            param_decls=["--env-file"],
            multiple=True,
            metavar="FILE",
            help="Read variables from FILE instead of the `.env` beside the topology. Repeatable.",
        )
        super().__init__(*arguments, params=[*(params or []), option], **more)

    def invoke(self, ctx: Any) -> Any:
        """Add the variables to the environment, and run the command."""
        ctx.meta[_PARAMETER] = [Path(text) for text in ctx.params.pop(_PARAMETER, None) or ()]
        ctx.meta[_SHELL] = dict(os.environ)
        named = (ctx.params.get(name) for name in ("file", "files", "overlays"))
        given = next((each for each in named if each), DEFAULT_FILE)
        first = given if isinstance(given, str | Path) else given[0]
        ctx.meta[_VARIABLES] = self._read(ctx, Path(first))
        os.environ.update(ctx.meta[_VARIABLES])
        return super().invoke(ctx)

    def _read(self, ctx: Any, file: Path) -> Mapping[str, str]:
        return _variables(ctx, file)


class ControlCommand(TopologyCommand):
    """A command for what runs: no mistake in a ``.env`` keeps anybody from looking or stopping.

    The run itself refuses to apply one.
    """

    def _read(self, ctx: Any, file: Path) -> Mapping[str, str]:
        try:
            return super()._read(ctx, file)
        except InvalidEnvFile as error:
            if ctx.meta[_PARAMETER]:
                raise
            console.notice(f"warning: {error}")
            return {}


@dataclass(frozen=True, slots=True)
class EnvFiles:
    """The parts of a command's environment: of the shell, and of files.

    `paths` as for `Settings.env_files`: empty if one, such as a pipe, can be read only once.
    """

    shell: Mapping[str, str]
    paths: tuple[str, ...] | None
    variables: Mapping[str, str]


def env_files_of(context: typer.Context) -> EnvFiles:
    """Return what a `TopologyCommand` has read."""
    given: list[Path] = context.meta[_PARAMETER]
    paths = tuple(str(path.absolute()) for path in given) if given else None
    if not all(path.is_file() for path in given):
        paths = ()
    return EnvFiles(context.meta[_SHELL], paths, context.meta[_VARIABLES])


def environment_of(context: typer.Context, file: Path) -> Mapping[str, str]:
    """The shell's variables and those of the files that belong to this topology.

    For a command that reads several topologies, each with a ``.env`` of its own.

    Raises:
        InvalidEnvFile: a file cannot be read, or has an error.
    """
    return {**context.meta[_SHELL], **_variables(context, file)}


def _variables(ctx: Any, file: Path) -> Mapping[str, str]:
    # Imported here: a command's help does not need it.
    from bananas_topology.spec.env_file import variables_of

    return variables_of(ctx.meta[_SHELL], file.parent, ctx.meta[_PARAMETER] or None)
