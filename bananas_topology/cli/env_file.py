"""`--env-file` and ``.env``, for every command that reads a topology.

The variables of the files are added to the environment before the command runs, so that no command
has to know about them, and processes that it starts inherit them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from bananas_topology.cli.options import DEFAULT_FILE

#: The parameter, and where the shell's own variables are kept.
_PARAMETER = "env_file"
_SHELL = "bananas_topology.shell"


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
        os.environ.update(_environment(ctx, Path(first)))
        return super().invoke(ctx)


def environment_of(context: typer.Context, file: Path) -> Mapping[str, str]:
    """The shell's variables and those of the files that belong to this topology.

    For a command that reads several topologies, each with a ``.env`` of its own.

    Raises:
        InvalidEnvFile: a file cannot be read, or has an error.
    """
    return _environment(context, file)


def _environment(ctx: Any, file: Path) -> Mapping[str, str]:
    # Imported here: a command's help does not need it.
    from bananas_topology.spec.env_file import with_env_files

    return with_env_files(ctx.meta[_SHELL], file.parent, ctx.meta[_PARAMETER] or None)
