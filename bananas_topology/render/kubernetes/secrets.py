"""The Secret: which keys it has to have, and, only where asked for, the object itself.

Manifests name its keys and hold no value. Who writes it to a file keeps that file out of version
control and out of anybody's terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from bananas_topology.errors import RenderFailed
from bananas_topology.render.kubernetes.keda import uses_lists
from bananas_topology.render.kubernetes.objects import Object, metadata
from bananas_topology.render.kubernetes.redis import PASSWORD_KEY, is_managed, redis_name
from bananas_topology.render.redis_server import PASSWORD_ADVICE, PASSWORD_PATTERN, PORT
from bananas_topology.render.target import File, header
from bananas_topology.spec.model import Topology
from bananas_topology.yaml_writer import to_yaml

#: The file of a Secret; never part of a rendering, never removed as a leftover of one.
SECRET_FILE = "secret.yaml"

#: Secret values of ours that are made from another one, not read from the environment.
_DERIVED = ("REDIS_ADDRESS", "REDIS_USERNAME")


def secret_keys(topology: Topology) -> tuple[str, ...]:
    """Every key that the rendered objects refer to."""
    return tuple(dict.fromkeys(_keys(topology)))


def secret_file(topology: Topology, environ: Mapping[str, str]) -> File:
    """The Secret with its values, which come from the environment.

    Raises:
        RenderFailed: variables are missing, all of which are named, or the password is of a kind
            that the server's start script refuses.
    """
    found = {**_from_redis(topology, environ), **_given(topology, environ)}
    missing = [key for key in secret_keys(topology) if key not in found]
    if missing:
        needed = PASSWORD_KEY if is_managed(topology) else "REDIS_URL"
        names = dict.fromkeys(needed if _comes_from_redis(key) else key for key in missing)
        raise RenderFailed(
            f"the Secret {topology.kubernetes.secret} cannot be written: "
            f"{', '.join(names)} not set in the environment"
        )
    secret: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(topology, topology.kubernetes.secret),
        "type": "Opaque",
        "stringData": {key: found[key] for key in secret_keys(topology)},
    }
    text = header(topology, "k8s", "--with-secrets") + to_yaml(secret)
    return File(SECRET_FILE, text, is_streamed=False)


def _keys(topology: Topology) -> Iterator[str]:
    yield "REDIS_URL"
    if is_managed(topology):
        yield PASSWORD_KEY
    elif uses_lists(topology):
        yield from (*_DERIVED, PASSWORD_KEY)
    if topology.api is not None:
        yield "API_TOKEN"
        yield from topology.api.secrets
    for pool in topology.pools:
        yield from pool.secrets


def _comes_from_redis(key: str) -> bool:
    return key in ("REDIS_URL", PASSWORD_KEY, *_DERIVED)


def _given(topology: Topology, environ: Mapping[str, str]) -> dict[str, str]:
    return {
        key: environ[key]
        for key in secret_keys(topology)
        if environ.get(key) and not _comes_from_redis(key)
    }


def _from_redis(topology: Topology, environ: Mapping[str, str]) -> dict[str, str]:
    """What lets clients in: from the password if the server is ours, else from its URL."""
    if is_managed(topology):
        password = environ.get(PASSWORD_KEY)
        if not password:
            return {}
        if not re.fullmatch(PASSWORD_PATTERN, password):
            raise RenderFailed(PASSWORD_ADVICE)
        url = f"redis://:{password}@{redis_name(topology)}:{PORT}/0"
        return {"REDIS_URL": url, PASSWORD_KEY: password}
    url = topology.redis.url or environ.get("REDIS_URL") or ""
    return {"REDIS_URL": url, **_parts_of(url)} if url else {}


def _parts_of(url: str) -> dict[str, str]:
    """A URL in the pieces that KEDA wants, which knows none.

    >>> _parts_of("rediss://app:p%40ss@cache.example.com/0")["REDIS_PASSWORD"]
    'p@ss'
    """
    parts = urlsplit(url)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    host = parts.netloc.rpartition("@")[2]
    return {
        "REDIS_ADDRESS": host if ":" in host else f"{host}:{PORT}",
        "REDIS_USERNAME": unquote(user),
        PASSWORD_KEY: unquote(password),
    }
