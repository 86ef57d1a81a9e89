"""Files that are written whole or not at all, whatever stops us in the middle."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomic(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file in a single step: whoever reads it sees the old one or the new one.

    Raises:
        OSError: it cannot be written; what was there is there still.
    """
    try:
        # Made for us alone; the mode is widened only once it has its content.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        # Nobody has asked for the file that it names.
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as temporary:
            temporary.write(text)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:  # whatever stops us, Ctrl-C too, leaves no litter
        os.unlink(name)
        raise
