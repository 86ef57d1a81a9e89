"""A Unix socket at a path, for its owner only."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Self

from bananas_topology.system.files import remove_own


class BoundSocket:
    """Bound from its creation to the end of its context; never blocks. A stream socket listens.

    What a killed process left at the path is replaced.

    Raises:
        OSError: the socket cannot be created at the path.
    """

    def __init__(self, path: Path, kind: socket.SocketKind) -> None:
        self.path = path
        self._kind = kind
        self._socket = self._bound()

    def _bound(self) -> socket.socket:
        self.path.unlink(missing_ok=True)
        bound = socket.socket(socket.AF_UNIX, self._kind)
        bound.setblocking(False)
        bound.bind(str(self.path))
        self.path.chmod(0o600)
        self._own = self.path.lstat()
        if self._kind == socket.SOCK_STREAM:
            bound.listen()
        return bound

    def rebind(self) -> None:
        """Create the socket again where it has been deleted.

        Raises:
            OSError: it cannot be created at the path.
        """
        former, self._socket = self._socket, self._bound()
        former.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        remove_own(self.path, self._own)

    def fileno(self) -> int:
        """The descriptor to poll on: readable when a message or a connection has come."""
        return self._socket.fileno()
