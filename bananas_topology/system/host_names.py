"""Names that a process holds on this host until it exits, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import tempfile
from functools import partial
from hashlib import sha256
from pathlib import Path


def hold_name(name: str) -> bool:
    """Hold a name for the rest of this process; False if another process of this host holds it.

    Forked children do not hold it.

    Raises:
        OSError: whether it is held cannot be known.
    """
    digest = sha256(name.encode()).hexdigest()
    return _bind(digest) if sys.platform == "linux" else _lock(digest)


def _bind(digest: str) -> bool:
    """Hold a name as an abstract socket: no file that could be cleaned up or owned by others."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0bananas-{digest}".encode())
    except OSError as error:
        held.close()
        if error.errno == errno.EADDRINUSE:
            return False
        raise
    _keep(held.detach())
    return True


def _lock(digest: str) -> bool:
    """Hold a name as a lock on a file of this user."""
    folder = Path(tempfile.gettempdir()) / f"bananas-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / digest, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    _keep(descriptor)
    return True


def _keep(descriptor: int) -> None:
    os.register_at_fork(after_in_child=partial(os.close, descriptor))
