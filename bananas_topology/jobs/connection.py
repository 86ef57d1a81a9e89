"""The door to the server: URLs, time-outs, what may go wrong in whose words, and checks at boot.

Redis's own exceptions end here: `translated` turns them into the house's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from bananas_topology.errors import (
    BananasTopologyError,
    ContractViolation,
    RedisRefused,
    RedisUnavailable,
    RedisUnsuitable,
)

#: Seconds that connecting and each reply may take; past it the server counts as unreachable.
TIMEOUT_S = 5.0

#: The oldest server whose commands the scripts may use (RPOP with a count, from Redis 6.2).
OLDEST_VERSION = (6, 2)

_SCHEMES = ("redis", "rediss", "unix")

# Errors that pass by themselves or by an operator's doing, while the job data is sound.
_PASSING = {
    "LOADING",
    "OOM",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "MISCONF",
    "NOREPLICAS",
}

# Errors of a server that is not, or no longer, the one to ask.
_MISDIRECTED = {"READONLY", "MOVED", "ASK"}

_REFUSING = {"WRONGPASS", "NOAUTH", "NOPERM"}

# redis-py cuts the code off the errors that it has classes for.
_CODES = {
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.TryAgainError: "TRYAGAIN",
    redis.exceptions.ClusterCrossSlotError: "CROSSSLOT",
    redis.exceptions.AskError: "MOVED",
}

_NO_HASH_TAG = (
    "the server is a Redis Cluster, where all keys of one Bananas must share a hash slot; set the "
    "key prefix (REDIS_KEY_PREFIX, redis.key_prefix) to one with a hash tag, such as {bananas}"
)


def connect(url: str) -> redis.Redis:
    """Make a client for the server at `url`; nothing is sent yet.

    Commands are never repeated behind our back: whether that is safe is for the caller to know.

    Raises:
        RedisUnsuitable: the URL is of no form we know.
    """
    scheme = url.partition("://")[0]
    if scheme not in _SCHEMES or "://" not in url:
        forms = "redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/socket"
        raise RedisUnsuitable(f'the Redis URL is "{redact(url)}"; expected {forms}')
    try:
        return redis.Redis.from_url(
            url,
            protocol=2,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            socket_keepalive=None if scheme == "unix" else True,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
    except ValueError as error:
        raise RedisUnsuitable(f'the Redis URL "{redact(url)}" cannot be read: {error}') from error


def check_server(client: redis.Redis) -> list[str]:
    """Ask the server what it is; returns warnings for the operator.

    Raises:
        RedisUnavailable: it cannot be reached, or is not ready.
        RedisUnsuitable: it is too old, or refuses us.
    """
    with translated(client):
        info: dict[str, Any] = client.info()
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise RedisUnsuitable(f"the server is Redis {version}; expected {oldest} or newer")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return [
            f"the server's maxmemory-policy is {policy}: when memory runs short it throws jobs "
            "away; set it to noeviction"
        ]
    return []


def redact(url: str) -> str:
    """The URL without its password.

    >>> redact("redis://app:s3cret@db:6379/0"), redact("unix:///run/redis.sock?password=x")
    ('redis://app:***@db:6379/0', 'unix:///run/redis.sock?password=***')
    """
    url = re.sub(r"(?<=://)([^/@]*):([^/]*)@", r"\1:***@", url)
    return re.sub(r"(?<=password=)[^&#]*", "***", url)


def address(client: redis.Redis) -> str:
    """Where a client's server is, for people: host and port, or the socket's path."""
    options = client.connection_pool.connection_kwargs
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


@contextmanager
def translated(client: redis.Redis) -> Iterator[None]:
    """Turn whatever redis raises inside into the house's own, by who must act."""
    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise _refused(client, str(error)) from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise unreachable(client, error) from error
    except redis.ResponseError as error:
        raise refusal(client, error) from error


def unreachable(client: redis.Redis, error: BaseException) -> RedisUnavailable:
    """What to raise where the connection fails."""
    return RedisUnavailable(f"cannot reach Redis at {address(client)}: {_reason(error)}")


def refusal(client: redis.Redis, error: redis.ResponseError | str) -> BananasTopologyError:
    """What to raise for a server's error reply.

    Where it says that another server is to be asked, the client's connections are closed: the
    next ones find the right one.
    """
    text = str(error)
    code = _code(text, error)
    if code in _REFUSING:
        return _refused(client, text)
    if code == "CROSSSLOT":
        return RedisUnsuitable(_NO_HASH_TAG)
    if code in _MISDIRECTED:
        client.connection_pool.disconnect(inuse_connections=False)
    if code in _PASSING or code in _MISDIRECTED:
        return RedisUnavailable(f"Redis at {address(client)} is not ready: {text}")
    if "user_script" in text:
        return ContractViolation(f"a script failed on Redis at {address(client)}: {text}")
    return RedisUnsuitable(f"Redis at {address(client)} does not do what is asked of it: {text}")


def _refused(client: redis.Redis, text: str) -> RedisRefused:
    return RedisRefused(f"Redis at {address(client)} refuses us: {text}")


def _code(text: str, error: redis.ResponseError | str) -> str:
    """The word that an error begins with."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    # Old servers put what went wrong within a script behind words of their own.
    inner = re.search(r"^ERR Error running script.*?: -([A-Z]+) ", text)
    return inner[1] if inner else text.partition(" ")[0]


def _reason(error: BaseException) -> str:
    """The heart of a connection error: redis wraps the system's words in several of its own."""
    text = str(error) or type(error).__name__
    match = re.search(r"(?:Error -?\d+ (?:while )?connecting to [^ ]+\. )?(.*)", text, re.DOTALL)
    return (match[1] if match else text).strip().rstrip(".")
