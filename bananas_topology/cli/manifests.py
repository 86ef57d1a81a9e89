"""Rendered files on disk: written whole or not at all, compared, and cleared of leftovers.

A file that does not begin as ours do is somebody's own work, and neither replaced nor removed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from bananas_topology.errors import RenderFailed
from bananas_topology.render.target import HEADER_MARK, File, Rendering
from bananas_topology.system.files import write_atomic


def write_all(rendering: Rendering, directory: Path) -> list[str]:
    """Bring a directory to what is rendered; returns a sentence for each file removed.

    Raises:
        RenderFailed: a file in the way is not ours. Nothing has been written then.
    """
    for file in rendering.files:
        _check_replaceable(_place(file, directory))
    for file in rendering.files:
        write_one(file, directory)
    gone = list(_leftovers(rendering, directory))
    for path in gone:
        path.unlink()
    return [f"{path} removed: it is no longer rendered" for path in gone]


def write_one(file: File, directory: Path, mode: int = 0o644) -> Path:
    """Write one file, in a single step, to where it goes."""
    path = _place(file, directory)
    _check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, file.text, mode)
    return path


def differences(rendering: Rendering, directory: Path) -> str:
    """What would change on disk, as a unified diff; empty where nothing would."""
    rendered = {_place(file, directory): file.text for file in rendering.files}
    gone = dict.fromkeys(_leftovers(rendering, directory), "")
    return "".join(_diff(path, text) for path, text in {**rendered, **gone}.items())


def _diff(path: Path, wanted: str) -> str:
    met = _read(path)
    if met == wanted:
        return ""
    lines = difflib.unified_diff(
        (met or "").splitlines(keepends=True),
        wanted.splitlines(keepends=True),
        "/dev/null" if met is None else str(path),
        f"{path} (rendered)" if wanted else "/dev/null",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _leftovers(rendering: Rendering, directory: Path) -> Iterator[Path]:
    """Files of the same target and topology that are no longer rendered."""
    paths = {_place(file, directory) for file in rendering.files}
    marks = {_mark(file.text) for file in rendering.files} - {()}
    for folder in sorted({directory, *(path.parent for path in paths)}):
        for path in sorted(folder.glob("*")):
            if path.is_file() and path not in paths and _mark(_read(path) or "") in marks:
                yield path


def _mark(text: str) -> tuple[str, ...]:
    """What made a file, and of which topology it is: its first two lines, without the hash."""
    first, _, rest = text.partition("\n")
    name = rest.partition("\n")[0].partition(", sha256:")[0]
    return (first, name) if first.startswith(HEADER_MARK) else ()


def _check_replaceable(path: Path) -> None:
    met = _read(path)
    if met is not None and not met.startswith(HEADER_MARK):
        raise RenderFailed(
            f"{path} was not made by bananas render, and nothing was written; "
            "move it away, or name another directory with -o"
        )


def _place(file: File, directory: Path) -> Path:
    """Where a file goes, which is never outside of the directory."""
    relative = PurePosixPath(file.path)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise RenderFailed(f'the target renders a file "{file.path}"; expected a relative path')
    return directory / relative


def _read(path: Path) -> str | None:
    """A file's text; None if there is no such file. What is not text is certainly not ours."""
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None
