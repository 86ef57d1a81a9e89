"""Connections to the server: URLs, timeouts, translation of errors, and checks at boot.

Exceptions of redis-py do not leave this package: `translate_errors` converts them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.retry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.sentinel import Sentinel

from bananas_topology.contract.redis_url import redact, require_valid_url
from bananas_topology.errors import (
    BananasTopologyError,
    ContractViolation,
    InvalidRedisUrl,
    RedisAccessDenied,
    RedisFull,
    RedisUnavailable,
    RedisUnsuitable,
    RequestRejected,
)
from bananas_topology.jobs.access import FileCredentials, ServerUrl
from bananas_topology.jobs.routing import (
    NO_HASH_TAG,
    RoutedConnection,
    RoutedSSLConnection,
    Router,
    shared_timeout,
)

#: Timeout of connecting and of each reply, in seconds; then the server counts as unreachable.
TIMEOUT_S = 5.0

#: The same for a producer, whose caller waits.
PRODUCER_TIMEOUT_S = 1.5

#: The oldest supported server: the scripts use RPOP with a count, new in Redis 6.2.
OLDEST_VERSION = (6, 2)

#: Port of a sentinel if the URL has none.
SENTINEL_PORT = 26_379

# RESP2 replies, no retries, and no limit on the number of connections: one per thread.
_COMMON: dict[str, Any] = {
    "protocol": 2,
    "socket_keepalive": True,
    "retry": redis.retry.Retry(NoBackoff(), 0),
    "health_check_interval": 0,
    "max_connections": 2**31,
}

# Errors that resolve by themselves or once an operator acts, without loss of data.
_TRANSIENT = {
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "MISCONF",
    "NOREPLICAS",
}

# Errors of a server that is not, or no longer, the master.
_MISDIRECTED = {"READONLY", "MOVED", "ASK", "UNBLOCKED"}

_ACCESS_DENIED = {"WRONGPASS", "NOAUTH", "NOPERM"}

# How current servers, and those before 7.0, begin what they deny to a script.
_DENIED_IN_SCRIPT = ("ACL failure in script", "The user executing the script can't")

# redis-py strips the code from errors that it has classes for.
_CODES = {
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.TryAgainError: "TRYAGAIN",
    redis.exceptions.ClusterCrossSlotError: "CROSSSLOT",
    redis.exceptions.AskError: "MOVED",
}

# Matches the message of an error in a pipeline.
_IN_PIPELINE = re.compile(r"Command # \d+ \((.*?)\) of pipeline caused error: (.*)", re.DOTALL)

# Options that sentinels do not share with the master.
_OF_MASTER = ("username", "password", "credential_provider", "db")

# redis-py leaves these two untyped.
_parse_url: Callable[[str], dict[str, Any]] = parse_url
_Sentinel: Any = Sentinel


def connect(
    source: str | ServerUrl, *, key_prefix: str | None = None, timeout_s: float = TIMEOUT_S
) -> redis.Redis:
    """Create a client for the server with this URL; nothing is sent yet.

    Commands are never retried implicitly: only the caller knows whether that is safe. With a
    `key_prefix`, the server may be a Redis Cluster. `timeout_s` is for connecting, and for each
    reply.

    Raises:
        InvalidRedisUrl: the URL is not valid; the message shows no password.
        RedisUnsuitable: a file with the URL or the password cannot be read.
    """
    source = ServerUrl(source) if isinstance(source, str) else source
    url = require_valid_url(source.read())
    scheme = url.partition("://")[0]
    try:
        options = {**_timeouts(timeout_s), **_login(source)}
        if scheme.endswith("+sentinel"):
            return _by_sentinel(url, options)
        pool = _pool(url, scheme, key_prefix, options)
        # Constructed once and discarded, so that an invalid option is reported now.
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, redis.RedisError) as error:
        raise InvalidRedisUrl(f'"{redact(url)}" is not a valid Redis URL: {error}') from error
    return redis.Redis.from_pool(pool)


def _login(source: ServerUrl) -> dict[str, Any]:
    """What replaces user and password in the options of connections; empty if nothing does."""
    if not source.is_reread:
        return {}
    source.login()  # so that a file that cannot be read is reported now
    return {"username": None, "password": None, "credential_provider": FileCredentials(source)}


def _timeouts(timeout_s: float) -> dict[str, Any]:
    return {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}


def _pool(
    url: str, scheme: str, key_prefix: str | None, given: dict[str, Any]
) -> redis.ConnectionPool:
    options = {**_COMMON, **_parse_url(url), **given}
    if scheme == "unix":
        options.pop("socket_keepalive")
        return redis.ConnectionPool(**options)
    if key_prefix is not None:
        seed = (options.get("host", "localhost"), options.get("port", 6379))
        options["connection_class"] = (
            RoutedSSLConnection if scheme == "rediss" else RoutedConnection
        )
        options["router"] = Router(key_prefix, seed)
    return redis.ConnectionPool(**options)


def _by_sentinel(url: str, given: dict[str, Any]) -> redis.Redis:
    """Create a client from ``redis+sentinel://[user:password@]host:port,.../service[/db]``."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    credentials, _, place = place.rpartition("@")
    hosts, service, db, *_ = [*place.split("/"), "", ""]
    # Everything else is parsed as in other URLs.
    plain = f"{'rediss' if scheme.startswith('rediss') else 'redis'}://"
    plain += f"{credentials}@" * bool(credentials) + f"localhost/{db}" + f"?{query}" * bool(query)
    options = {**_COMMON, **_parse_url(plain), **given}
    options.pop("host")
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    own = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    shared = {name: options[name] for name in options if name not in _OF_MASTER}
    sentinels = [_host_and_port(host) for host in hosts.split(",")]
    shared |= _timeouts(shared_timeout(given["socket_timeout"], len(sentinels)))
    sentinel = _Sentinel(
        sentinels,
        sentinel_kwargs={**shared, **{name: value for name, value in own.items() if value}},
        **options,
    )
    master: redis.Redis = sentinel.master_for(service)
    return master


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", parts.port or SENTINEL_PORT


def check_server(client: redis.Redis) -> list[str]:
    """Check the server's version and settings; returns warnings for the operator.

    Raises:
        RedisUnavailable: it cannot be reached, or is not ready.
        RedisUnsuitable: it is too old, or denies access.
    """
    with translate_errors(client):
        info: dict[str, Any] = client.info()
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise RedisUnsuitable(
            f"expected Redis {oldest} or newer, got {version}: upgrade the server"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return [
            f"the server's maxmemory-policy is {policy}, which evicts jobs when memory is short: "
            "set it to noeviction"
        ]
    return []


def failure(client: redis.Redis) -> BananasTopologyError | None:
    """Ping the server; returns why it does not answer."""
    try:
        with translate_errors(client):
            client.ping()
    except BananasTopologyError as error:
        return error
    return None


def log_in(client: redis.Redis, url: str, *, key_prefix: str) -> None:
    """Connect a client with the login of this URL from now on; its idle connections are closed.

    Raises:
        InvalidRedisUrl: the URL is not valid.
    """
    pool = connect(url, key_prefix=key_prefix).connection_pool
    # A command that another thread sends keeps the pool that it has begun with.
    before, client.connection_pool = client.connection_pool, pool
    before.disconnect(inuse_connections=False)


def close_inherited(client: redis.Redis) -> None:
    """Close, in a forked child, the connections of its parent, which keeps them.

    redis-py only forgets them. Then the server would not notice the parent's death while the child
    lives, and would go on serving the parent's blocking commands.
    """
    pool: Any = client.connection_pool
    for connection in [*pool._available_connections, *pool._in_use_connections]:
        connection.disconnect()  # by redis-py's own check, without a shutdown of the socket


def address(client: redis.Redis) -> str:
    """A client's server, for messages: host and port, or the path of the socket."""
    options = client.connection_pool.connection_kwargs
    service = getattr(client.connection_pool, "service_name", None)
    if service is not None:
        return f'the master of "{service}"'
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


@contextmanager
def translate_errors(client: redis.Redis) -> Iterator[None]:
    """Translate exceptions of redis-py, by who must act."""
    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise _access_denied(client, str(error)) from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise connection_failure(client, error) from error
    except redis.ResponseError as error:
        raise reply_failure(client, error) from error
    except redis.exceptions.InvalidResponse as error:
        raise RedisUnsuitable(f"the server at {address(client)} is not Redis: {error}") from error


def connection_failure(client: redis.Redis, error: BaseException) -> RedisUnavailable:
    """The exception for a failed connection."""
    return RedisUnavailable(f"cannot reach Redis at {address(client)}: {_reason(error)}")


def reply_failure(client: redis.Redis, error: redis.ResponseError | str) -> BananasTopologyError:
    """The exception for an error reply.

    If the reply means that another server is the right one, the client's idle connections are
    closed, so that new ones find it.
    """
    command, text = _command_and_reply(str(error))
    code = _code(text, error)
    if code in _ACCESS_DENIED or any(phrase in text for phrase in _DENIED_IN_SCRIPT):
        return _access_denied(client, text)
    if code == "OOM":
        return RedisFull(
            f"Redis at {address(client)} is out of memory and accepts no new jobs: wait until "
            "workers have made room, keep jobs and results for less time, or raise maxmemory"
        )
    if code == "CROSSSLOT":
        return RedisUnsuitable(NO_HASH_TAG)
    if code in _MISDIRECTED:
        client.connection_pool.disconnect(inuse_connections=False)
    if code in _TRANSIENT or code in _MISDIRECTED:
        return RedisUnavailable(f"Redis at {address(client)} is not ready: {text}")
    if "WRONGTYPE" in text:
        # A script names no key; a worker tries it again, as if the server were not ready.
        kind = RedisUnsuitable if "user_script" in text else RequestRejected
        return kind(
            f"Redis at {address(client)} holds a value of another type under a key of Bananas, "
            f"which another program has stored: {command}{text}; delete that key, or "
            "change the key prefix"
        )
    if "user_script" in text:
        return ContractViolation(f"a script failed on Redis at {address(client)}: {text}")
    if "invalid bulk length" in text:
        text = f"{text}: a value is larger than its proto-max-bulk-len allows"
    return RequestRejected(f"Redis at {address(client)} rejected a command: {command}{text}")


def _command_and_reply(text: str) -> tuple[str, str]:
    """An error's reply without what redis-py adds in a pipeline: the command, unless a script."""
    match = _IN_PIPELINE.fullmatch(text)
    if match is None:
        return "", text
    return "" if match[1].startswith("EVAL") else f"{match[1]}: ", match[2]


def _access_denied(client: redis.Redis, text: str) -> RedisAccessDenied:
    hint = ""
    if "password" not in client.connection_pool.connection_kwargs:
        hint = "; the URL has no password (`bananas redis-url` prints that of a running `up`)"
    elif "access a channel" in text:
        hint = "; allow it those of the key prefix, as with `ACL SETUSER app &bananas:*`"
    return RedisAccessDenied(f"Redis at {address(client)} denied access: {text}{hint}")


def _code(text: str, error: redis.ResponseError | str) -> str:
    """The code that an error reply starts with, such as READONLY."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    # Old servers prefix errors raised within a script.
    inner = re.search(r"^ERR Error running script.*?: -([A-Z]+) ", text)
    return inner[1] if inner else text.partition(" ")[0]


def _reason(error: BaseException) -> str:
    """The system's message of a connection error, without what redis-py adds to it."""
    text = str(error) or type(error).__name__
    match = re.search(r"(?:Error -?\d+ (?:while )?connecting to [^ ]+\. )?(.*)", text, re.DOTALL)
    return (match[1] if match else text).strip().rstrip(".")
