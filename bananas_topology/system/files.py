"""Atomic writing of files, and files and directories that only their owner may access."""

from __future__ import annotations

import errno
import os
import select
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

#: What nobody but the owner may do.
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_atomic(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file atomically: readers see the old content or the new, never a part.

    Raises:
        OSError: it cannot be written; the old content is unchanged.
    """
    try:
        # Created with mode 0600; `mode` is set once the content is complete.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        # The error names the temporary file, which means nothing to the caller.
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as temporary:
            temporary.write(text)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:  # KeyboardInterrupt too must not leave the temporary file behind
        os.unlink(name)
        raise


def read_secret(path: str) -> str:
    """Return the text of a file without white space at its ends, such as a final line break.

    Raises:
        ValueError: it cannot be read, or is empty.
    """
    try:
        text = Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"cannot read {path}: not UTF-8") from error
    if not text:
        raise ValueError(f"{path} is empty")
    return text


def has_lost_reader(descriptor: int) -> bool:
    """Whether what reads from a pipe or socket has gone, which writing would show only later."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


def open_private(path: Path, flags: int) -> int:
    """Open a file that only its owner may access, and return its descriptor.

    Symbolic links are not followed, and a file of another user is not opened: either could make
    us overwrite, or trust, somebody else's file.

    Raises:
        OSError: it cannot be opened, or is a symbolic link, a directory or another user's.
    """
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _symbolic_link(path) from None
        raise
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        _check_owner(status, path)
        if status.st_mode & _OTHERS:
            os.fchmod(handle, status.st_mode & ~_OTHERS & 0o777)
    except BaseException:
        os.close(handle)
        raise
    return handle


def read_private(path: Path) -> bytes:
    """Read a file as `open_private` opens it.

    Raises:
        OSError: as `open_private`.
    """
    with open(open_private(path, os.O_RDONLY), "rb") as file:
        return file.read()


def private_directory(path: Path) -> None:
    """Create a directory that only its owner may access, if it does not exist.

    Raises:
        OSError: it cannot be created, or is a symbolic link, a file or another user's.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise _symbolic_link(path) from None
        if not stat.S_ISDIR(status.st_mode):
            raise
        _check_owner(status, path)
        if status.st_mode & _OTHERS:
            path.chmod(0o700)


def remove_own(path: Path, own: os.stat_result) -> None:
    """Remove a file, unless another one is there by now."""
    with suppress(FileNotFoundError):
        if os.path.samestat(path.lstat(), own):
            path.unlink()


def check_no_links(directory: Path) -> None:
    """Check a directory whose files another program opens.

    Raises:
        OSError: there is a symbolic link in it, at any depth.
    """
    for path in directory.rglob("*"):
        if path.is_symlink():
            raise _symbolic_link(path)


def _symbolic_link(path: Path) -> OSError:
    return OSError(errno.ELOOP, "it is a symbolic link", str(path))


def _check_owner(status: os.stat_result, path: Path) -> None:
    """Root may use the files of the user whose topology it runs."""
    if os.geteuid() not in (0, status.st_uid):
        raise OSError(errno.EPERM, "it belongs to another user", str(path))
