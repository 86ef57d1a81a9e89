"""Redis URLs: whether one is valid, and what of one may be shown.

Everything that prints a URL, or a part of it, goes through `redact`. It does not rely on the URL
being valid: a password with unescaped delimiters is the most common mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from bananas_topology.contract.names import REDIS_SCHEMES
from bananas_topology.errors import InvalidRedisUrl

#: What a URL may look like, for messages.
SENTINEL_FORM = "redis+sentinel://host:26379,host:26379/service/0"
FORMS = (
    f"redis://host:6379/0, rediss://host:6379/0 (TLS), unix:///path/to/socket or {SENTINEL_FORM}"
)

# Options accepted in the query of a URL, apart from those with credentials.
_PLAIN_OPTIONS = (
    "db",
    "ssl_cert_reqs",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_check_hostname",
)
_CREDENTIALS = ("username", "password", "sentinel_username", "sentinel_password", "ssl_password")

_ESCAPE = "percent-encode the characters / ? # @ : % in user names and passwords"

#: Scheme and slashes, with or without the colon.
_LEAD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:?/+")
#: A URL, or what may be a mistyped one: with one slash, with backslashes, without its scheme.
_URL_IN_TEXT = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:?//[^\s\"']*"
    r"|(?:[A-Za-z][A-Za-z0-9+.-]*)?:?(?://|:/|:\\+)[^\s\"']*@[^\s\"']*"
    r"|(?<![^\s\"']):[^\s\"'@]+@[^\s\"']*"
    r"|[^\s\"'=,]+,[^\s\"']*(?i:password)=[^\s\"']*"  # a connection string, as of Azure
)
_PORT = re.compile(r"[0-9]{1,5}")


def check_url(url: str) -> str | None:
    """Return why a URL is not valid, without showing any part of it; None if it is valid."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in REDIS_SCHEMES or not rest:
        return f"expected {FORMS}"
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return "expected no white space"
    authority, tail = _split_authority(rest)
    path, _, query = tail.partition("?")
    if "#" in tail or ("@" in path and scheme != "unix"):
        return f"it has an @ or # after its host: {_ESCAPE}"
    hosts = authority.rpartition("@")[2]
    is_sentinel = scheme.endswith("+sentinel")
    each_host = hosts.split(",") if is_sentinel else [hosts]
    if not all(map(_is_host, each_host)) or not _is_splittable(url):
        return f"its host or port is not valid: {_ESCAPE}"
    parts = path.strip("/").split("/")
    if is_sentinel and (not hosts or not parts[0] or len(parts) > 2):
        return f"expected {SENTINEL_FORM}"
    if scheme == "unix":
        return None if path else "expected unix:///path/to/socket"
    if (database := "/".join(parts[is_sentinel:])) and not re.fullmatch(r"[0-9]+", database):
        return f"its database is not a number, as in {FORMS.partition(',')[0]}"
    return _check_options(query)


def require_valid_url(url: str) -> str:
    """Return a valid URL.

    Raises:
        InvalidRedisUrl: it is not valid; the message shows no password.
    """
    if (reason := check_url(url)) is not None:
        raise InvalidRedisUrl(f'"{redact(url)}" is not a valid Redis URL: {reason}')
    return url


def has_password(url: str) -> bool:
    """Whether a URL, even one that is not valid, contains a password."""
    return redact(url) != url


def redact(url: str) -> str:
    """Hide everything in a URL that may be a password.

    >>> redact("redis://app:s3cret@db:6379/0"), redact("unix:///run/redis.sock?password=x")
    ('redis://app:***@db:6379/0', 'unix:///run/redis.sock?password=***')
    >>> redact("redis//:pw@h"), redact("redis://u:pa/ss@h"), redact("redis://:pw:6379/0")
    ('redis//:***@h', 'redis://***@h', 'redis://:***/0')
    """
    shown, position = "", 0
    for start, end in secret_spans(url):
        shown += f"{url[position:start]}***"
        position = end
    return shown + url[position:]


def redact_urls(text: str) -> str:
    """Hide the passwords of all URLs in a text.

    >>> redact_urls("--url=redis//:s3cret@db --verbose")
    '--url=redis//:***@db --verbose'
    >>> redact_urls("redis:/:s3cret@a, ://:s3cret@b, redis:\\\\:s3cret@c, redis:// :s3cret@d")
    'redis:/:***@a, ***@b, redis:***@c, redis:// :***@d'
    """
    return _URL_IN_TEXT.sub(lambda match: redact(match[0]), text)


def mask_urls(text: str) -> str:
    """Hide the passwords of all URLs in a text, keeping every other character in its place.

    >>> mask_urls('redis: {url: "redis://app:s3cret@db:6379/0"}')
    'redis: {url: "redis://app:******@db:6379/0"}'
    """

    def masked(match: re.Match[str]) -> str:
        url = match[0]
        for start, end in secret_spans(url):
            url = url[:start] + "*" * (end - start) + url[end:]
        return url

    return _URL_IN_TEXT.sub(masked, text)


def secret_spans(url: str) -> Iterator[tuple[int, int]]:
    """The parts of a URL that may be passwords, as ascending start and end offsets."""
    lead = match[0] if (match := _LEAD.match(url)) else ""
    start = len(lead)
    authority, tail = _split_authority(url[start:])
    if "@" in (rest := _without_option_values(tail)):
        # A password has a delimiter; where an option precedes the @, so may what follows it.
        is_option = re.search(r"[?&][^@]*=[^@]*@", rest)
        host = len(url) if is_option else url.rindex("@") + 1
        yield start, host if is_option else host - 1
    else:
        userinfo, at, _ = authority.rpartition("@")
        host = start + len(userinfo) + len(at)
        if at and (begin := start + _password_offset(userinfo)) < host - 1:
            yield begin, host - 1
    authority, tail = _split_authority(url[host:])
    yield from _spans_of_hosts(authority, host)
    yield from _spans_of_tail(tail, host + len(authority), "sentinel" in lead or "unix" in lead)


def _split_authority(rest: str) -> tuple[str, str]:
    """Split what follows the scheme before the first of / ? #."""
    authority = re.match(r"[^/?#]*", rest)
    end = authority.end() if authority else 0
    return rest[:end], rest[end:]


def _password_offset(userinfo: str) -> int:
    """Where the password starts; a single word may be one as well as a user name."""
    user, colon, _ = userinfo.partition(":")
    return len(user) + 1 if colon else 0


def _is_host(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return parts.port != 0 and not (parts.username or parts.password)
    except ValueError:
        return False


def _is_splittable(url: str) -> bool:
    """Whether the standard library accepts it, whose message of what it rejects has passwords."""
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


def _check_options(query: str) -> str | None:
    known = (*_PLAIN_OPTIONS, *_CREDENTIALS)
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            # Otherwise, it may be part of a password.
            is_name = re.fullmatch(r"[a-z_]+", name) and value and "@" not in value
            shown = f'"{name}"' if is_name else "in its query"
            return f"unknown option {shown}: expected one of {', '.join(known)}"
    return None


def _without_option_values(tail: str) -> str:
    """The part after the host without the values of known options, which may have an @."""
    path, mark, query = tail.partition("?")
    names = "|".join((*_PLAIN_OPTIONS, *_CREDENTIALS))
    return path + mark + re.sub(rf"(?:^|(?<=&))(?:{names})=[^&#]*", "", query)


def _spans_of_hosts(authority: str, offset: int) -> Iterator[tuple[int, int]]:
    """What stands in the place of a port, but is not one, and options of a connection string."""
    for host in re.finditer(r"[^,]+", authority):
        name, colon, port = host[0].partition(":")
        if host[0].startswith("["):
            name, colon, port = host[0].partition("]:")
        option, equals, _ = host[0].partition("=")
        if equals:
            yield offset + host.start() + len(option) + 1, offset + host.end()
        elif colon and (not name or not _PORT.fullmatch(port)):
            yield offset + host.end() - len(port), offset + host.end()


def _spans_of_tail(tail: str, offset: int, has_path: bool) -> Iterator[tuple[int, int]]:
    """The values of options that are not known to be harmless, and a path that is not a number."""
    path, _, query = tail.partition("?")
    path, _, fragment = path.partition("#")
    if not has_path and not re.fullmatch(r"/*[0-9]*/*", path):
        yield offset + 1, offset + len(path)
    if fragment:
        yield offset + len(path) + 1, offset + len(tail)
        return
    position = offset + len(path) + 1
    for option in re.split(r"(?<=&)", query):
        name, equals, value = option.rstrip("&").partition("=")
        if name and name not in _PLAIN_OPTIONS:
            begin = position + len(name) + 1 if equals else position
            yield begin, begin + len(value if equals else name)
        position += len(option)
