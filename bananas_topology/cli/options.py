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

RedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis-url",
        metavar="URL",
        help="Redis URL; overrides REDIS_URL and the topology.",
        show_default=False,
    ),
]

TopologyFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="Topology to read; - is standard input.  [default: topology.yaml]",
        show_default=False,
    ),
]
