"""Atomic writing of files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


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
