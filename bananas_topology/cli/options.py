"""Options shared by several commands."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

#: Default for FILE.
DEFAULT_FILE = Path("topology.yaml")

#: The same under the other common suffix, which is never read by default.
OTHER_FILE = DEFAULT_FILE.with_suffix(".yml")


class Format(StrEnum):
    """Output formats."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """Log levels, by how much they matter."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


AsFormat = Annotated[Format, typer.Option("--format", help="Output format.")]

Limit = Annotated[int, typer.Option(metavar="N", min=0, help="Maximum rows; 0 for no limit.")]

RedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis-url",
        metavar="URL",
        help="Redis URL; overrides REDIS_URL and the topology.",
        show_default=False,
    ),
]

#: What `-f` means where it is not taken, and `--file` everywhere.
FILE_HELP = (
    "Topology to read; - is standard input. Further files are merged into it, the last one wins. "
    "Repeatable.  [default: topology.yaml]"
)

TopologyFile = Annotated[
    list[Path] | None,
    typer.Option("--file", "-f", metavar="FILE", help=FILE_HELP, show_default=False),
]

#: The topology as an argument, and what is merged into it.
FileArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]",
        help="Topology file; - is standard input.  [default: topology.yaml]",
        show_default=False,
    ),
]
Overlays = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="File to merge into the topology, the last one wins; without an argument, the first "
        "one is the topology. Repeatable.",
        show_default=False,
    ),
]

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Set a value of the topology, such as pools.worker.replicas=5. Repeatable.",
        show_default=False,
    ),
]
