"""The directory these jobs write to, atomically."""

from __future__ import annotations

import os
import tempfile
from hashlib import sha256
from pathlib import Path

#: The variable that names the directory; default: one in the system's temporary directory.
VARIABLE = "SEED_JOBS_DIR"


def folder(name: str) -> Path:
    """Create a folder of the workspace, readable by its owner only.

    Raises:
        PermissionError: the workspace belongs to another user.
    """
    root = Path(os.environ.get(VARIABLE) or _default())
    # Anyone can write to the system's temporary directory: an existing entry may be a trap.
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise PermissionError(
            f"{root} belongs to another user; set {VARIABLE} to another directory"
        )
    path = root / name
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that readers see all of it or nothing; repeating it changes nothing."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        # JobTimeout may be raised at any line of a handler.
        Path(temporary).unlink(missing_ok=True)
        raise


def file_name(job_id: str, suffix: str) -> str:
    """A valid file name for a job, whose id may be any text."""
    return sha256(job_id.encode()).hexdigest()[:32] + suffix


def _default() -> Path:
    return Path(tempfile.gettempdir()) / f"bananas-seed-jobs-{os.getuid()}"
