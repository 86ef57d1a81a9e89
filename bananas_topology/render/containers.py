"""What holds for a container of ours wherever it runs."""

from __future__ import annotations

from posixpath import dirname, isabs, normpath

from bananas_topology.spec.model import Logging

#: The user and group of our image, and of those that `bananas init` lets an app build.
USER_ID = 10001

#: Where a worker serves its metrics and probes.
METRICS_PORT = 6061


def log_directory(logging: Logging) -> str | None:
    """Where a worker's log files need a place that is not the read-only root; None for nowhere."""
    directory = normpath(dirname(logging.file.path))
    is_ours = not isabs(directory) or directory == "/" or directory == "/tmp"
    if not logging.file.enabled or is_ours or directory.startswith("/tmp/"):
        return None
    return directory
