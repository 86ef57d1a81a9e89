"""Finds a place for the sockets of a run: its state directory, unless that path is too long."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bananas_topology.errors import ControlFailed

CONTROL = "control.sock"
NOTIFY = "notify.sock"

#: Bytes that a socket's path may have on every system (macOS: 104 with the final NUL, Linux: 108).
MAX_PATH_BYTES = 103


@contextmanager
def socket_directory(state: Path) -> Iterator[Path]:
    """Yield a directory for sockets that only its owner can enter; removed if it is made for them.

    Raises:
        ControlFailed: the directory is accessible to other users.
    """
    directory = state if _fits(state) else _runtime_directory(state)
    try:
        yield directory
    finally:
        if directory != state:
            with suppress(OSError):
                directory.rmdir()


def _fits(directory: Path) -> bool:
    return all(len(os.fsencode(directory / name)) <= MAX_PATH_BYTES for name in (CONTROL, NOTIFY))


def _runtime_directory(state: Path) -> Path:
    """Create a directory with a short path, always the same one for a state directory."""
    digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
    name = f"bananas-{os.getuid()}-{digest}"
    roots = [Path(each) for each in (os.environ.get("XDG_RUNTIME_DIR"), "/tmp") if each]
    roots.insert(1, Path(tempfile.gettempdir()))
    root = next((each for each in roots if each.is_dir() and _fits(each / name)), None)
    if root is None:
        raise ControlFailed(f"the path {state} is too long for a socket, and so is {roots[-1]}")
    create(root / name)
    return root / name


def create(directory: Path) -> None:
    """Create a directory for sockets in one that belongs to others, too, if it does not exist.

    Raises:
        ControlFailed: it is not ours alone.
    """
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    # Somebody else may have created it, or put a symbolic link there.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ControlFailed(f"{directory} does not belong to you alone: remove it")
