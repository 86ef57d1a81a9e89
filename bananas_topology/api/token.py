"""The token that clients of the API must send."""

from __future__ import annotations

import hmac
import logging
from pathlib import Path

from bananas_topology.contract.api import parse_token
from bananas_topology.errors import InvalidSettings
from bananas_topology.system.files import read_secret

log = logging.getLogger(__name__)

#: Identifies a version of a file: inode, modification time and size.
_Version = tuple[int, int, int]


class Token:
    """A token, or the one in a file, which is read again when the file changes.

    Not set if there is neither: then it allows nothing. `variable` is its name in messages.
    """

    def __init__(self, text: str, path: str = "", variable: str = "API_TOKEN") -> None:
        """Read the file, if there is one.

        Raises:
            InvalidSettings: it cannot be read, or contains no valid token.
        """
        self._path = path
        self._variable = variable
        self._version = _version_of(path)
        self._expected = self._read() if path else text.encode()

    @property
    def is_set(self) -> bool:
        """Whether there is a token."""
        return bool(self._expected)

    def allows(self, header: str) -> bool:
        """Whether an Authorization header has the token."""
        if self._path:
            self._reread()
        scheme, _, given = header.partition(" ")
        is_bearer = scheme.lower() == "bearer"
        # Starlette decodes headers as Latin-1.
        is_equal = hmac.compare_digest(given.encode("latin-1", "replace"), self._expected)
        return self.is_set and is_bearer and is_equal

    def equals(self, other: Token) -> bool:
        """Whether both are set, and the same."""
        return self.is_set and hmac.compare_digest(self._expected, other._expected)

    def _reread(self) -> None:
        """Replace the token; a file without a valid one leaves the old token in place."""
        version = _version_of(self._path)
        if version is None or version == self._version:
            return
        self._version = version
        try:
            self._expected = self._read()
        except InvalidSettings as error:
            log.error("%s not changed: %s", self._variable, error)
        else:
            log.info("%s changed", self._variable)

    def _read(self) -> bytes:
        try:
            return parse_token(read_secret(self._path)).encode()
        except ValueError as error:
            raise InvalidSettings([f'{self._variable}_FILE is "{self._path}": {error}']) from error


def _version_of(path: str) -> _Version | None:
    """None if the file does not exist, perhaps because it is being replaced."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


#: No token: allows nothing.
NO_TOKEN = Token("")
