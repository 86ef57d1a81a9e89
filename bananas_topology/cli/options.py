"""Options that several commands share, each said once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

#: What FILE is when it is left out.
DEFAULT_FILE = Path("topology.yaml")


class Format(StrEnum):
    """For people, or for programs."""

    TEXT = "text"
    JSON = "json"


AsFormat = Annotated[Format, typer.Option("--format", help="For people, or for programs.")]

RedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis-url",
        metavar="URL",
        help="The server to use, whatever REDIS_URL and the topology say.",
        show_default=False,
    ),
]

TopologyFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="The topology whose jobs are meant.  [default: topology.yaml]",
        show_default=False,
    ),
]
