"""Facts about the containers of workers and the api that hold for every target."""

from __future__ import annotations

from posixpath import dirname, isabs, normpath

from bananas_topology.contract.worker import WorkerConfig

#: The user and group of the published image, and of images built as `bananas init` suggests.
USER_ID = 10001

#: The port on which a worker serves metrics and probes.
METRICS_PORT = 6061

#: How long the api may take to start, in milliseconds.
API_STARTUP_MS = 60_000

#: The size of ``/tmp``, the only writable directory, in bytes.
TMP_BYTES = 2**30


def log_directory(worker: WorkerConfig) -> str | None:
    """The directory that needs a volume for log files; None if there are none, or none is needed.

    The root file system is read-only, so a path outside of ``/tmp`` needs a volume.
    """
    directory = normpath(dirname(worker.log_file_path))
    can_be_mounted = isabs(directory) and directory != "/"
    is_in_tmp = directory == "/tmp" or directory.startswith("/tmp/")
    return directory if worker.log_file_enabled and can_be_mounted and not is_in_tmp else None
