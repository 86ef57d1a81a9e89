"""Credentials of containers: files that are mounted, and the variables with their paths.

A process reads them again for each connection, so that a rotated password needs no restart.
"""

from __future__ import annotations

from collections.abc import Iterable

from bananas_topology.render.redis_server import PASSWORD_KEY
from bananas_topology.spec.model import Topology

#: What a file with credentials contains. Its name is that of the variable without ``_FILE``.
URL_KEY, TOKEN_KEY = "REDIS_URL", "API_TOKEN"

#: The api's optional token: a variable, if the topology lists it in ``api.secrets``.
READ_TOKEN_KEY = "API_READ_TOKEN"


def worker_files(topology: Topology) -> tuple[str, ...]:
    """The files of a worker: an external server's URL, or the managed one's password."""
    return (URL_KEY,) if topology.redis.is_external else (PASSWORD_KEY,)


def api_files(topology: Topology) -> tuple[str, ...]:
    """The files that the api needs."""
    return (*worker_files(topology), TOKEN_KEY)


def file_variables(files: Iterable[str], directory: str) -> dict[str, str]:
    """The variables that tell a process where its files are.

    >>> file_variables(["API_TOKEN"], "/run/secrets")
    {'API_TOKEN_FILE': '/run/secrets/API_TOKEN'}
    """
    return {f"{name}_FILE": f"{directory}/{name}" for name in files}


def without_variables(files: Iterable[str]) -> tuple[str, ...]:
    """The variables that must be empty because a file has their value.

    A process refuses both, and an existing Secret with all variables of an application may have
    such a variable, too.

    >>> without_variables(["REDIS_PASSWORD", "API_TOKEN"])
    ('API_TOKEN',)
    """
    return tuple(name for name in files if name in (URL_KEY, TOKEN_KEY))
