"""Where a service may write the log files of its workers: the rest of the host is read-only."""

from __future__ import annotations

import re
from posixpath import dirname, normpath

from bananas_topology.spec.model import Pool, Topology

#: A directory that systemd creates for the service, as it is written in the unit.
_CREATED = re.compile(r"/var/log/([A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*)")


def created_logs(topology: Topology) -> list[str]:
    """The directories below /var/log that the service needs, relative to it."""
    found = (_CREATED.fullmatch(_directory(pool) or "") for pool in topology.pools)
    return list(dict.fromkeys(match[1] for match in found if match))


def unwritable_logs(pool: Pool) -> str | None:
    """The directory of a pool's log files if the service cannot write to it."""
    directory = _directory(pool)
    return None if directory is None or _CREATED.fullmatch(directory) else directory


def _directory(pool: Pool) -> str | None:
    """The directory of the log files, unless it is in the service's own /tmp."""
    directory = normpath(dirname(pool.worker.log_file_path))
    is_in_tmp = f"{directory}/".startswith("/tmp/")
    return directory if pool.worker.log_file_enabled and not is_in_tmp else None
