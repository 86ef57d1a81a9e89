"""State directories: which one belongs to which topology, also after the topology is renamed.

A directory is called after the first name of its topology. A file in it says which topology has it
now; that file changes its content when the topology is renamed, and the directory never moves, so
that a rename cannot be interrupted half-way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bananas_topology.errors import ControlFailed
from bananas_topology.supervisor.record import STATE_DIRECTORY, create_directory, running_in
from bananas_topology.system.files import read_private, write_atomic

_OWNER = "topology.json"

#: Where the bundled server keeps its data in a state directory.
_DATA = "data"


@dataclass(frozen=True, slots=True)
class Owner:
    """The topology that a directory belongs to: its name, and the name of its file if known."""

    name: str
    file: str = ""


def owner_of(directory: Path) -> Owner:
    """Read which topology has a directory; without that file, the one it is called after."""
    try:
        return Owner(**json.loads(read_private(directory / _OWNER)))
    except (OSError, ValueError, TypeError):
        return Owner(directory.name)


def find_directory(folder: Path, name: str, file: str) -> Path | None:
    """Find the directory of a topology in a folder: by its name, else by its file.

    A file whose topology has another name now has been renamed: it keeps its directory.
    """
    owners = {directory: owner_of(directory) for directory in _directories(folder)}
    named = [directory for directory, owner in owners.items() if owner.name == name]
    renamed = [directory for directory, owner in owners.items() if file and owner.file == file]
    return max(named or renamed, key=_used_at, default=None)


def state_directory(folder: Path, name: str, file: str = "", adopt: str | None = None) -> Path:
    """Find or create the state directory of a topology, accessible to its owner only.

    Without the name of its file it is found by its name only: the folder is not that of the file.
    `adopt` is the name of another topology in the folder, not running: its directory is taken over.

    Raises:
        ControlFailed: it cannot be created or taken over, or is a symbolic link or another user's.
    """
    folder = folder.absolute()
    root = folder / STATE_DIRECTORY
    directory = find_directory(folder, name, file)
    if adopt is not None and adopt != name:
        directory = _adopted(folder, name, adopt)
    if directory is None:
        taken = set(_directories(folder))
        names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
        directory = next(root / each for each in names if root / each not in taken)
    try:
        create_directory(directory)
        owner = owner_of(directory)
        if running_in(directory) is None and (file or owner.name != name):
            rename(directory, name, file)
    except OSError as error:
        raise ControlFailed(
            f"cannot create {error.filename or directory}: {error.strerror}; `bananas up` keeps "
            "its state next to the topology file and needs write access there"
        ) from error
    return directory


def rename(directory: Path, name: str, file: str) -> None:
    """Let a directory belong to the topology with this name and file from now on.

    Raises:
        OSError: that cannot be written.
    """
    owner = Owner(name, file)
    if owner_of(directory) != owner or not (directory / _OWNER).exists():
        write_atomic(directory / _OWNER, json.dumps(asdict(owner)), 0o600)


def check_rename(directory: Path, name: str) -> None:
    """Check that the topology of a directory can be renamed.

    Raises:
        ControlFailed: another directory already has data of a topology with that name.
    """
    for other in _directories(directory.parent.parent):
        if other == directory or owner_of(other).name != name:
            continue
        if running_in(other) is not None:
            raise ControlFailed(f'topology "{name}" is already running here')
        if has_data(directory) and has_data(other):
            raise ControlFailed(
                f'{other} already has the jobs of a topology "{name}": choose another name, or '
                "remove it if they are not needed"
            )


def has_data(directory: Path) -> bool:
    """Whether the bundled server has stored data there."""
    return any((directory / _DATA).glob("appendonlydir/*"))


def unused_data(directory: Path) -> list[tuple[Path, Owner]]:
    """Other directories of the folder with data that nothing uses now, and whose it is."""
    return [
        (other, owner_of(other))
        for other in _directories(directory.parent.parent)
        if other != directory and has_data(other) and running_in(other) is None
    ]


def _adopted(folder: Path, name: str, former: str) -> Path:
    directory = find_directory(folder, former, "")
    if directory is None:
        names = ", ".join(owner_of(each).name for each in _directories(folder)) or "none"
        raise ControlFailed(f'no data of a topology "{former}" here; there is: {names}')
    if running_in(directory) is not None:
        raise ControlFailed(f'topology "{former}" is running; use `bananas apply` to change it')
    check_rename(directory, name)
    return directory


def _directories(folder: Path) -> Iterator[Path]:
    """The state directories of a folder, by name, without symbolic links."""
    root = folder / STATE_DIRECTORY
    paths = [] if root.is_symlink() else sorted(root.glob("*"))
    yield from (path for path in paths if path.is_dir() and not path.is_symlink())


def _used_at(directory: Path) -> float:
    try:
        return (directory / _OWNER).stat().st_mtime
    except OSError:
        return 0.0
