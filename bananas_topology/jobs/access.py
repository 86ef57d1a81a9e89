"""Where a process gets the URL and password of its server, and when it needs new ones.

A platform mounts secrets as files and replaces them. User and password are read again for each new
connection, so that a rotated password needs no restart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import redis
from redis.credentials import CredentialProvider

from bananas_topology.contract.api import ApiConfig
from bananas_topology.contract.redis_url import require_valid_url
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import BananasTopologyError, RedisAccessDenied, RedisUnsuitable
from bananas_topology.system.clock import monotonic
from bananas_topology.system.files import read_secret

#: Seconds of being denied access after which a process exits, to be restarted with fresh variables.
PATIENCE_S = 60.0

#: A URL's user and password, before the host or behind the "?".
_LOGIN = re.compile(r"(?<=://)[^/?#]*@|(?<=[?&])(?:username|password)=[^&#]*&?")


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """A server's URL: `text`, or what `url_file` contains; `password_file` replaces its password.

    A file name is empty if there is no file.
    """

    text: str
    url_file: str = ""
    password_file: str = ""

    @classmethod
    def of(cls, config: WorkerConfig | ApiConfig) -> ServerUrl:
        """Create it from the settings of a process."""
        return cls(config.redis_url, config.redis_url_file, config.redis_password_file)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> ServerUrl | None:
        """Create it from the variables of a process; None if they name no server."""
        url = env.get("REDIS_URL", "")
        url_file = "" if url else env.get("REDIS_URL_FILE", "")
        if not url and not url_file:
            return None
        return cls(url, url_file, env.get("REDIS_PASSWORD_FILE", ""))

    @property
    def is_reread(self) -> bool:
        """Whether a new password reaches the running process."""
        return bool(self.url_file or self.password_file)

    def read(self) -> str:
        """Return the URL; the password may be another one.

        Raises:
            RedisUnsuitable: the file cannot be read, or is empty.
        """
        return _read(self.url_file) if self.url_file else self.text

    def resolve(self) -> str:
        """Return the URL with its current password.

        Raises:
            InvalidRedisUrl: the URL is not valid.
            RedisUnsuitable: a file cannot be read, or is empty.
        """
        url = self.read()
        if not self.password_file:
            return url
        *user, password = (quote(each, safe="") for each in self.login())
        return without_login(url).replace("://", f"://{''.join(user)}:{password}@", 1)

    def login(self) -> tuple[str, ...]:
        """Return user and password, the password alone, or nothing.

        Raises:
            InvalidRedisUrl: the URL is not valid.
            RedisUnsuitable: a file cannot be read, or is empty.
        """
        parts = urlsplit(require_valid_url(self.read()))
        query = dict(parse_qsl(parts.query))
        user = unquote(parts.username or "") or query.get("username", "")
        password = unquote(parts.password or "") or query.get("password", "")
        if self.password_file:
            password = _read(self.password_file)
        return tuple(text for text in (user, password) if text) if password else ()


def explicit_url(option: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the URL of the command line's option, or of the environment.

    Raises:
        InvalidRedisUrl: it is not valid.
        RedisUnsuitable: REDIS_URL_FILE or REDIS_PASSWORD_FILE cannot be read.
    """
    if option:
        return require_valid_url(option)
    named = ServerUrl.from_env(environ)
    return require_valid_url(named.resolve()) if named else None


class FileCredentials(CredentialProvider):
    """Authenticates each connection of redis-py with what the files contain at that moment."""

    def __init__(self, url: ServerUrl) -> None:
        self._url = url

    def get_credentials(self) -> tuple[str, ...]:  # type: ignore[override]  # may be empty
        """Return user and password, the password alone, or nothing.

        Raises:
            redis.ConnectionError: a file cannot be read, perhaps because it is being replaced.
        """
        try:
            return self._url.login()
        except RedisUnsuitable as error:
            raise redis.ConnectionError(str(error)) from error


class RestartCheck:
    """Whether only a restart gives a process what it needs to reach its server."""

    def __init__(self, url: ServerUrl) -> None:
        self._url = url
        self._server = without_login(url.read())
        self._since: float | None = None

    def reason(self, error: BananasTopologyError | None) -> str | None:
        """Return why to restart now; to be called every few seconds with what fails, if anything.

        A process waits `PATIENCE_S` before it restarts, since the server may change as well.
        """
        reason = self._reason(error)
        if reason is None:
            self._since = None
            return None
        now = monotonic()
        self._since = now if self._since is None else self._since
        return reason if now - self._since >= PATIENCE_S else None

    def _reason(self, error: BananasTopologyError | None) -> str | None:
        if error is None:
            return None
        if isinstance(error, RedisAccessDenied) and not self._url.is_reread:
            return f"{error}; variables are read again only by a restart"
        if self._url.url_file and self._has_moved():
            return f"{self._url.url_file} contains the URL of another server"
        return None

    def _has_moved(self) -> bool:
        try:
            return without_login(self._url.read()) != self._server
        except RedisUnsuitable:
            return False


def without_login(url: str) -> str:
    """The URL without user and password.

    >>> without_login("redis://app:s3cret@db:6379/0?password=x&ssl_ca_certs=y")
    'redis://db:6379/0?ssl_ca_certs=y'
    """
    return _LOGIN.sub("", url).removesuffix("?")


def is_same_server(url: str, other: str) -> bool:
    """Whether two URLs have the same jobs: they differ in login and options of TLS at most.

    >>> is_same_server("redis://:old@db:6379/0", "redis://:new@db:6379/0?ssl_ca_certs=y")
    True
    >>> is_same_server("redis://db:6379/0", "redis://db:6379/1")
    False
    """
    return _place(url) == _place(other)


def _place(url: str) -> tuple[str, str | None]:
    """Scheme, hosts and path, and the database if it is an option."""
    base, _, query = without_login(url).partition("?")
    return base, dict(parse_qsl(query)).get("db")


def _read(path: str) -> str:
    try:
        return read_secret(path)
    except ValueError as error:
        raise RedisUnsuitable(str(error)) from error
