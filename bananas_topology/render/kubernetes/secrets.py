"""The Secret: the keys that it must have and, only on request, the object itself.

Manifests refer to its keys and contain no values. The file with the values belongs in neither
version control nor a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from bananas_topology.contract.api import api_from_env
from bananas_topology.contract.redis_url import require_valid_url
from bananas_topology.errors import InvalidSettings, RenderFailed
from bananas_topology.render.credentials import (
    READ_TOKEN_KEY,
    TOKEN_KEY,
    URL_KEY,
    api_files,
    worker_files,
)
from bananas_topology.render.kubernetes.keda import reads_redis
from bananas_topology.render.kubernetes.objects import Object, metadata
from bananas_topology.render.kubernetes.redis import is_managed
from bananas_topology.render.redis_server import (
    PASSWORD_ADVICE,
    PASSWORD_KEY,
    PASSWORD_PATTERN,
    PORT,
)
from bananas_topology.render.target import File, header
from bananas_topology.spec.model import Topology
from bananas_topology.yaml_writer import to_yaml

#: The file of the Secret; never part of a rendering, and never removed with stale files.
SECRET_FILE = "secret.yaml"

#: Keys whose values are derived from REDIS_URL, not read from the environment.
_DERIVED = ("REDIS_ADDRESS", "REDIS_USERNAME")


def secret_keys(topology: Topology) -> tuple[str, ...]:
    """Every key of the Secret that the rendered objects refer to."""
    keys = dict.fromkeys(_keys(topology))
    if topology.redis.secret is not None:
        keys.pop(URL_KEY, None)
    return tuple(keys)


def secret_file(topology: Topology, environ: Mapping[str, str]) -> File:
    """The Secret with its values, taken from environment variables.

    Raises:
        InvalidRedisUrl: REDIS_URL is not valid.
        RenderFailed: variables are missing or not text (all are named), or the password or the
            token is not valid.
    """
    found = {**_redis_values(topology, environ), **_other_values(topology, environ)}
    missing = [key for key in secret_keys(topology) if key not in found]
    if missing:
        needed = PASSWORD_KEY if is_managed(topology) else "REDIS_URL"
        names = dict.fromkeys(needed if _is_redis_key(key) else key for key in missing)
        raise RenderFailed(
            f"cannot write Secret {topology.kubernetes.secret}: "
            f"{', '.join(names)} not set in the environment"
        )
    # Bytes that are not UTF-8 are surrogates in variables; kubectl would replace them silently.
    if binary := [key for key, text in found.items() if not _is_utf8(text)]:
        raise RenderFailed(
            f"cannot write Secret {topology.kubernetes.secret}: {', '.join(binary)} is not valid "
            "UTF-8"
        )
    _check_tokens(topology, found)
    secret: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(topology, topology.kubernetes.secret),
        "type": "Opaque",
        "stringData": {key: found[key] for key in secret_keys(topology)},
    }
    text = header(topology, "k8s", "--with-secrets") + to_yaml(secret)
    return File(SECRET_FILE, text, is_streamed=False)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_tokens(topology: Topology, found: Mapping[str, str]) -> None:
    """Reject tokens that the api would reject when it starts."""
    if topology.api is None:
        return
    try:
        api_from_env({key: found[key] for key in (TOKEN_KEY, READ_TOKEN_KEY) if key in found})
    except InvalidSettings as error:
        raise RenderFailed(
            f"cannot write Secret {topology.kubernetes.secret}: {'; '.join(error.problems)}; "
            "generate tokens with openssl rand -hex 32"
        ) from error


def _keys(topology: Topology) -> Iterator[str]:
    yield from worker_files(topology)
    if not is_managed(topology) and reads_redis(topology):
        yield from (*_DERIVED, PASSWORD_KEY)
    if topology.api is not None:
        yield from api_files(topology)
        yield from topology.api.secrets
    for pool in topology.pools:
        yield from pool.secrets


def _is_redis_key(key: str) -> bool:
    return key in ("REDIS_URL", PASSWORD_KEY, *_DERIVED)


def _other_values(topology: Topology, environ: Mapping[str, str]) -> dict[str, str]:
    return {
        key: environ[key]
        for key in secret_keys(topology)
        if environ.get(key) and not _is_redis_key(key)
    }


def _redis_values(topology: Topology, environ: Mapping[str, str]) -> dict[str, str]:
    """The password of a managed server, or the URL of an external one and its parts."""
    if is_managed(topology):
        password = environ.get(PASSWORD_KEY)
        if not password:
            return {}
        if not re.fullmatch(PASSWORD_PATTERN, password):
            raise RenderFailed(PASSWORD_ADVICE)
        return {PASSWORD_KEY: password}
    url = topology.redis.url or environ.get("REDIS_URL") or ""
    return {"REDIS_URL": url, **_parts_of(require_valid_url(url))} if url else {}


def _parts_of(url: str) -> dict[str, str]:
    """A URL in parts, because KEDA does not take URLs.

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
