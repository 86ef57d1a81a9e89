"""`bananas init`: a starter topology and jobs that run without changes."""

from __future__ import annotations

import json
import re
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from bananas_topology import __version__
from bananas_topology.cli.options import OTHER_FILE
from bananas_topology.errors import ControlFailed

_TEMPLATES = Path(__file__).with_name("templates")

#: Replaced in the templates by the directory's name.
_PLACEHOLDER = "name: my-app\n"

#: Replaced in the Dockerfile by the installed version, so that the image runs the same one.
_VERSION_PLACEHOLDER = "@version@"

#: Left out if the app already has one of them.
_CONTAINER_FILES = ("Dockerfile", ".dockerignore")

_MAX_NAME = 63


class InitMode(StrEnum):
    """Modes whose pools can run all jobs."""

    THIN = "thin"
    DEFAULT = "default"
    SPECIALIZED = "specialized"
    JOB_SPECIALIZED = "job-specialized"


_Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="Target directory; created if missing.")
]
_Mode = Annotated[InitMode, typer.Option(help="Mode of the generated worker pools.")]


def init(directory: _Directory = Path("."), mode: _Mode = InitMode.THIN) -> None:
    """Create a starter topology.yaml and jobs.py.

    Both run without changes. Existing files are never overwritten; a Dockerfile and .dockerignore
    are added if neither exists.

    Examples:

        bananas init

        bananas init shop --mode specialized
    """
    files = _files(app_name(directory.absolute().name), mode)
    if any((directory / name).exists() for name in _CONTAINER_FILES):
        files = {name: text for name, text in files.items() if name not in _CONTAINER_FILES}
    # Not read by any command, but it would be confusing beside topology.yaml.
    taken = [*files, OTHER_FILE.name]
    existing = [str(directory / name) for name in taken if (directory / name).exists()]
    if existing:
        raise ControlFailed(
            f"not overwriting {' and '.join(existing)}; nothing was written. Move the existing "
            "files, or choose another directory: bananas init DIR"
        )
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with (directory / name).open("x", encoding="utf-8") as file:
            file.write(text)
    print(_next_steps(directory, list(files)))


def app_name(text: str) -> str:
    """Derive a topology name from a directory name.

    >>> app_name("My Shop_2"), app_name("2024"), app_name("")
    ('my-shop-2', 'app-2024', 'app')
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not name[:1].isalpha():
        name = f"app-{name}"
    return name[:_MAX_NAME].strip("-")


def _files(name: str, mode: InitMode) -> dict[str, str]:
    """The files to write, by name."""
    topology = (_TEMPLATES / f"{mode.value}.yaml").read_text("utf-8")
    dockerfile = (_TEMPLATES / "Dockerfile").read_text("utf-8")
    return {
        "topology.yaml": topology.replace(_PLACEHOLDER, f"name: {name}\n"),
        "jobs.py": (_TEMPLATES / "jobs.py.txt").read_text("utf-8"),
        "Dockerfile": dockerfile.replace(_VERSION_PLACEHOLDER, __version__),
        ".dockerignore": (_TEMPLATES / "dockerignore").read_text("utf-8"),
    }


def _next_steps(directory: Path, names: list[str]) -> str:
    steps = [shlex.join(("cd", str(directory)))] if directory != Path(".") else []
    steps.append("bananas up")
    lines = [
        f"wrote {', '.join(str(directory / name) for name in names)}",
        "",
        "Start it with:",
        *(f"  {step}" for step in steps),
        "",
        "Then, from a second terminal in the same directory:",
        """  bananas enqueue hello --payload '{"name": "you"}' --wait""",
        "  bananas queues",
    ]
    source = _installed_from()
    if source is not None and "Dockerfile" in names:
        lines += [
            "",
            "Bananas was not installed from a package index. For an image, first build its wheel:",
            f"  {shlex.join(('pip', 'wheel', '--no-deps', '--wheel-dir', str(directory), source))}",
        ]
    return "\n".join(lines)


def _installed_from() -> str | None:
    """What pip installed Bananas from; None if it was a package index."""
    # Imported here: every other command starts faster without it.
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        # Recorded for every other source (PEP 610).
        text = distribution("bananas-topology").read_text("direct_url.json")
    except PackageNotFoundError:
        text = None
    return _requirement(json.loads(text)) if text else None


def _requirement(direct_url: dict[str, Any]) -> str:
    """Format a direct URL record as pip takes it.

    >>> _requirement({"url": "file:///src/my%20bananas", "dir_info": {}})
    '/src/my bananas'
    >>> vcs = {"vcs": "git", "commit_id": "abc123"}
    >>> _requirement({"url": "https://example.com/bananas.git", "vcs_info": vcs})
    'git+https://example.com/bananas.git@abc123'
    """
    url = str(direct_url["url"])
    if "vcs_info" in direct_url:
        vcs = direct_url["vcs_info"]
        return f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return unquote(urlsplit(url).path) if url.startswith("file:") else url
