"""The door to the server: URLs, time-outs, what may go wrong in whose words, and checks at boot.

Redis's own exceptions end here: `translated` turns them into the house's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

from bananas_topology.contract.names import REDIS_SCHEMES
from bananas_topology.errors import (
    BananasTopologyError,
    ContractViolation,
    RedisRefused,
    RedisUnavailable,
    RedisUnsuitable,
)
from bananas_topology.jobs.routing import NO_HASH_TAG, RoutedConnection, RoutedSSLConnection, Router

#: Seconds that connecting and each reply may take; past it the server counts as unreachable.
TIMEOUT_S = 5.0

#: The oldest server whose commands the scripts may use (RPOP with a count, from Redis 6.2).
OLDEST_VERSION = (6, 2)

#: Where a sentinel listens, if the URL does not say it.
SENTINEL_PORT = 26_379

_SENTINEL_FORM = "redis+sentinel://host:26379,host:26379/service/0"

_FORMS = (
    f"redis://host:6379/0, rediss://host:6379/0 (TLS), unix:///path/to/socket or {_SENTINEL_FORM}"
)

# What may stand behind the "?" of a URL.
_QUERY = (
    "db",
    "username",
    "password",
    "sentinel_username",
    "sentinel_password",
    "ssl_cert_reqs",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_check_hostname",
)

# Replies in RESP2; nothing is tried twice; a connection for each thread, however many.
_COMMON: dict[str, Any] = {
    "protocol": 2,
    "socket_timeout": TIMEOUT_S,
    "socket_connect_timeout": TIMEOUT_S,
    "socket_keepalive": True,
    "retry": Retry(NoBackoff(), 0),
    "health_check_interval": 0,
    "max_connections": 2**31,
}

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
_MISDIRECTED = {"READONLY", "MOVED", "ASK", "UNBLOCKED"}

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

# redis-py leaves these two untyped.
_parse_url: Callable[[str], dict[str, Any]] = parse_url
_Sentinel: Any = Sentinel


def connect(url: str, *, key_prefix: str | None = None) -> redis.Redis:
    """Make a client for the server at `url`; nothing is sent yet.

    Commands are never repeated behind our back: whether that is safe is for the caller to know.
    With the prefix that its keys have, a Redis Cluster may be behind the URL.

    Raises:
        RedisUnsuitable: the URL is of no form we know.
    """
    scheme = url.partition("://")[0]
    if scheme not in REDIS_SCHEMES or "://" not in url:
        raise RedisUnsuitable(f'the Redis URL is "{redact(url)}"; expected {_FORMS}')
    try:
        _check_query(url)
        if scheme.endswith("+sentinel"):
            return _by_sentinel(url)
        pool = _pool(url, scheme, key_prefix)
        # Made in vain, so that what is wrong with an option is said now.
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, redis.RedisError) as error:
        raise RedisUnsuitable(f'the Redis URL "{redact(url)}" cannot be read: {error}') from error
    return redis.Redis.from_pool(pool)


def _pool(url: str, scheme: str, key_prefix: str | None) -> redis.ConnectionPool:
    options = {**_COMMON, **_parse_url(url)}
    if scheme == "unix":
        options.pop("socket_keepalive")
        return redis.ConnectionPool(**options)
    _check_db(urlsplit(url).path.strip("/"))
    if key_prefix is not None:
        seed = (options.get("host", "localhost"), options.get("port", 6379))
        options["connection_class"] = (
            RoutedSSLConnection if scheme == "rediss" else RoutedConnection
        )
        options["router"] = Router(key_prefix, seed)
    return redis.ConnectionPool(**options)


def _by_sentinel(url: str) -> redis.Redis:
    """Make a client of ``redis+sentinel://[user:password@]host:port,.../service[/db]``."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    credentials, _, place = place.rpartition("@")
    hosts, service, db, *more = [*place.split("/"), "", ""]
    if not hosts or not service or any(more):
        raise ValueError(f"expected {_SENTINEL_FORM}")
    _check_db(db)
    # The rest is read as it is in any other URL.
    plain = f"{'rediss' if scheme.startswith('rediss') else 'redis'}://"
    plain += f"{credentials}@" * bool(credentials) + f"localhost/{db}" + f"?{query}" * bool(query)
    options = {**_COMMON, **_parse_url(plain)}
    options.pop("host")
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    own = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    shared = {name: options[name] for name in options if name not in ("username", "password", "db")}
    sentinel = _Sentinel(
        [_host_and_port(each) for each in hosts.split(",")],
        sentinel_kwargs={**shared, **{name: value for name, value in own.items() if value}},
        **options,
    )
    master: redis.Redis = sentinel.master_for(service)
    return master


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"expected {_SENTINEL_FORM}")
    return parts.hostname, parts.port or SENTINEL_PORT


def _check_db(text: str) -> None:
    """Refuse what redis-py would take for the database 0."""
    if text and not text.isdecimal():
        raise ValueError(f'its database is "{text}"; expected a number')


def _check_query(url: str) -> None:
    """Refuse options that are not for a URL to set: some would change what replies look like."""
    for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name not in _QUERY:
            raise ValueError(f'it has the option "{name}"; expected {", ".join(_QUERY)}')


def check_server(client: redis.Redis) -> list[str]:
    """Ask the server what it is; returns warnings for the operator.

    Raises:
        RedisUnavailable: it cannot be reached, or is not ready.
        RedisUnsuitable: it is too old, or refuses us.
    """
    with translate_errors(client):
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
    service = getattr(client.connection_pool, "service_name", None)
    if service is not None:
        return f'the master of "{service}"'
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


@contextmanager
def translate_errors(client: redis.Redis) -> Iterator[None]:
    """Turn whatever redis raises inside into the house's own, by who must act."""
    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise _refused(client, str(error)) from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise unreachable(client, error) from error
    except redis.ResponseError as error:
        raise refusal(client, error) from error
    except redis.exceptions.InvalidResponse as error:
        raise RedisUnsuitable(f"what answers at {address(client)} is no Redis: {error}") from error


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
        return RedisUnsuitable(NO_HASH_TAG)
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
