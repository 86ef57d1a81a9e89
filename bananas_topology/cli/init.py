"""`bananas init`: a first topology and a first job, which run as they are."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bananas_topology import __version__
from bananas_topology.errors import ControlFailed

_TEMPLATES = Path(__file__).with_name("templates")

#: The name that the templates have in place of the folder's.
_PLACEHOLDER = "name: my-app\n"

#: What the Dockerfile has in place of our own version: an image has what the app was made with.
_VERSION_PLACEHOLDER = "@version@"

#: What an app may well have already, and then keeps.
_FOR_CONTAINERS = ("Dockerfile", ".dockerignore")

_MAX_NAME = 63


class InitMode(StrEnum):
    """The modes that can run jobs on their own."""

    THIN = "thin"
    DEFAULT = "default"
    SPECIALIZED = "specialized"
    JOB_SPECIALIZED = "job-specialized"


_Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The folder; made if need be.")]
_Mode = Annotated[InitMode, typer.Option(help="What kind of worker pools to begin with.")]


def init(directory: _Directory = Path("."), mode: _Mode = InitMode.THIN) -> None:
    """Write a first topology.yaml and jobs.py.

    They run as they are, and nothing is overwritten. A Dockerfile for them comes along, where
    there is none yet.

    Examples:

        bananas init

        bananas init shop --mode specialized
    """
    files = _files(app_name(directory.absolute().name), mode)
    if any((directory / name).exists() for name in _FOR_CONTAINERS):
        files = {name: text for name, text in files.items() if name not in _FOR_CONTAINERS}
    in_the_way = [name for name in files if (directory / name).exists()]
    if in_the_way:
        raise ControlFailed(
            f"{' and '.join(str(directory / name) for name in in_the_way)} already there, and "
            "nothing was written; move it away, or name another folder: bananas init DIR"
        )
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with (directory / name).open("x", encoding="utf-8") as file:
            file.write(text)
    print(_next_steps(directory, list(files)))


def app_name(text: str) -> str:
    """A name for a topology, out of a folder's.

    >>> app_name("My Shop_2"), app_name("2024"), app_name("")
    ('my-shop-2', 'app-2024', 'app')
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not name[:1].isalpha():
        name = f"app-{name}"
    return name[:_MAX_NAME].strip("-")


def _files(name: str, mode: InitMode) -> dict[str, str]:
    """What is written: names and texts."""
    topology = (_TEMPLATES / f"{mode.value}.yaml").read_text("utf-8")
    dockerfile = (_TEMPLATES / "Dockerfile").read_text("utf-8")
    return {
        "topology.yaml": topology.replace(_PLACEHOLDER, f"name: {name}\n"),
        "jobs.py": (_TEMPLATES / "jobs.py.txt").read_text("utf-8"),
        "Dockerfile": dockerfile.replace(_VERSION_PLACEHOLDER, __version__),
        ".dockerignore": (_TEMPLATES / "dockerignore").read_text("utf-8"),
    }


def _next_steps(directory: Path, names: list[str]) -> str:
    steps = [f"cd {directory}"] if directory != Path(".") else []
    steps.append("bananas up")
    lines = [
        f"wrote {', '.join(str(directory / name) for name in names)}",
        "",
        "Start it:",
        *(f"  {step}" for step in steps),
        "",
        "and from a second terminal, in the same folder:",
        """  bananas enqueue hello --payload '{"name": "you"}' --wait""",
        "  bananas queues",
    ]
    return "\n".join(lines)
