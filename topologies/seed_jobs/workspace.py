"""Where these jobs write: a directory of their own, files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from hashlib import sha256
from pathlib import Path

#: The variable that names the directory; without it, one in the system's temporary directory.
VARIABLE = "SEED_JOBS_DIR"


def folder(name: str) -> Path:
    """Make a folder of the workspace; for its owner's eyes only.

    Raises:
        PermissionError: somebody else has made the workspace before us.
    """
    root = Path(os.environ.get(VARIABLE) or _default())
    # The system's temporary directory is everybody's: what is there already may be a trap.
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise PermissionError(f"{root} belongs to somebody else; name another one by {VARIABLE}")
    path = root / name
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that readers meet all of it or nothing; a second time changes nothing."""
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
    """A legal file name for a job: its id is any text that a producer liked."""
    return sha256(job_id.encode()).hexdigest()[:32] + suffix


def _default() -> Path:
    return Path(tempfile.gettempdir()) / f"bananas-seed-jobs-{os.getuid()}"
