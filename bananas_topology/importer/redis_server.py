"""The Redis server of a deployment: its address, image and command, and settings that lose jobs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from bananas_topology.contract.redis_url import redact
from bananas_topology.importer.draft import Draft, Section, has_variable, put
from bananas_topology.importer.source import Field
from bananas_topology.spec.interpolation import BadSyntax, NotSet, interpolate
from bananas_topology.units import format_memory, parse_memory_bytes

#: Bytes. A computed memory limit is rounded up to a multiple of it.
_ROUND_TO_BYTES = 256 * 2**20

#: The name of an image without its registry, owner and tag.
_IMAGE = re.compile(
    r"([\w.-]+[_-])?(redis|valkey|keydb|dragonfly)([_-](stack|server|stack-server|bundle|cluster))?"
)

#: A namespace that is not known.
_ANY_NAMESPACE = "*"


def is_redis(image: str) -> bool:
    """Whether an image is Redis or a compatible server.

    >>> is_redis("redis:7-alpine"), is_redis("docker.io/valkey/valkey:9.0"), is_redis("bananas-api")
    (True, True, False)
    >>> is_redis("rediscommander/redis-commander:1"), is_redis("redis/redis-stack-server:7.2.0-v9")
    (False, True)
    """
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return bool(_IMAGE.fullmatch(name))


def add_server(
    draft: Draft, server: str, hosts: Iterable[str], namespace: str | None = None
) -> None:
    """Add a server of the files that is reached at `hosts`.

    `namespace` is that of Kubernetes, "" if the files do not say it.
    """
    for host in hosts:
        draft.servers.setdefault(host, server)
        if namespace is not None:
            draft.servers.setdefault(f"{host}.{namespace or _ANY_NAMESPACE}", server)


def is_used(draft: Draft, server: str) -> bool:
    """Whether the processes use this server of the files, once all their variables are read."""
    if draft.redis.get("url"):
        return False
    return server == (draft.used_server or next(iter(draft.servers.values())))


def put_url(draft: Draft, text: str, source: Field) -> None:
    """Set which server the processes use: one of the files, which is to be managed, or another."""
    if not text:
        source.translate("an empty variable counts as not set")
        return
    address = _address(text)
    server = _server_at(draft, address[0]) if address else None
    if server is not None and address is not None:
        _use(draft, server, address[1], source)
    elif draft.used_server is not None:
        source.drop("other processes use the managed Redis: a topology has one server")
    elif address is None and draft.has_server:
        source.drop("the Redis of the files is used: set `redis.url` to use another server")
    elif "@" in text:
        put(draft.redis, ("url",), "${REDIS_URL}", None)
        if has_variable(text):
            source.translate("a secret: set REDIS_URL to the whole URL")
        else:
            source.mark_mistake("password in plain text; REDIS_URL becomes a secret reference")
    else:
        put(draft.redis, ("url",), text, source)


def put_unknown_url(draft: Draft) -> None:
    """Set that the processes use an external server, unless there is one in the files."""
    if not draft.has_server:
        put(draft.redis, ("url",), "${REDIS_URL}", None)


def _use(draft: Draft, server: str, database: str, source: Field) -> None:
    if url := draft.redis.get("url"):
        source.drop(f"redis.url is already {redact(url)}, from another field")
    elif draft.used_server not in (None, server):
        source.drop("other processes use another server: a topology has one")
    else:
        draft.used_server = server
        if database in ("", "0"):
            source.translate("the managed Redis of the topology")
        else:
            source.drop("the managed Redis has database 0 only: have producers use that one, too")


def _address(text: str) -> tuple[str, str] | None:
    """The host and the database of a URL; None if they depend on a variable without a default.

    >>> _address("redis://:pw@cache.shop:6379/2"), _address("${URL:-redis://db}"), _address("$URL")
    (('cache.shop', '2'), ('db', ''), None)
    """
    try:
        url = interpolate(text, {})
    except (BadSyntax, NotSet):
        return None
    authority, _, rest = url.partition("://")[2].rpartition("@")[2].partition("/")
    path, _, query = rest.partition("?")
    option = re.search(r"(?:^|&)db=(\d+)", query or authority.partition("?")[2])
    host = authority.partition("?")[0].partition(":")[0].rstrip(".")
    return host, option[1] if option else path


def _server_at(draft: Draft, host: str) -> str | None:
    """The server of the files that a host is; in Kubernetes, with its namespace or without."""
    name = host.removesuffix(".cluster.local")
    is_service = name.endswith(".svc")
    name = name.removesuffix(".svc")
    found = draft.servers.get(name)
    if found is None and is_service:
        found = draft.servers.get(f"{name.rpartition('.')[0]}.{_ANY_NAMESPACE}")
    return found


def note_new_volume(draft: Draft, volume: str) -> None:
    """Say that the managed Redis does not have the data of the one in the files."""
    draft.notices.append(
        f'the managed Redis has a volume of its own: copy the data of "{volume}", or let the '
        "workers finish all jobs first"
    )


def check_image(draft: Draft, image: Field) -> None:
    """Keep a pinned image; any other is a mistake."""
    tag = image.text.partition("@")[0].rpartition(":")[2]
    if re.search(r"\d+\.\d+", tag) or "@" in image.text:
        draft.redis.setdefault("managed", {})["image"] = image.text
        image.keep()
    else:
        image.mark_mistake(
            "not pinned to a minor version; `redis.managed.image` has a pinned default"
        )


#: What the managed Redis is started with: an option, and its value (None: any, since it is kept, or
#: another one is a mistake).
_SET: dict[str, str | None] = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "dir": "/data",
    "maxmemory-policy": None,
    "maxmemory": None,
    "port": "6379",
    "requirepass": None,
    "save": "",
}
_SERVER = re.compile(r"(\S*/)?(redis|valkey|keydb)-server")
#: What ends the values of an option in a shell script.
_SHELL = re.compile(r"-|[<>;&|].*")

#: An option, its values, and the fields that they are in.
_Option = tuple[str, list[str], list[Field]]


def check_command(managed: Section, *commands: Field | None) -> None:
    """Mark the arguments of the server's command.

    If the container has no memory limit, `managed` gets one derived from ``--maxmemory``.
    """
    leaves = [leaf for command in commands if command for leaf in command.leaves()]
    words = [(word, leaf) for leaf in leaves for word in _words(leaf.text)]
    others, given = _split_options(words)
    options = {name: " ".join(values) for name, values, _ in given}
    if (limit := options.get("maxmemory")) and (memory := _container_memory(limit)):
        managed.setdefault("memory", memory)
    for leaf in leaves:
        if notes := _mistakes([word for word, each in words if each is leaf], options):
            leaf.mark_mistake("; ".join(notes))
    for name, values, fields in given:
        expected = _SET.get(name, "(not set)")
        for each in fields if expected not in (None, " ".join(values)) else ():
            each.drop(f"the managed Redis has no --{' '.join([name, *values])}")
    for leaf in others:
        leaf.drop("the managed Redis has a command of its own")
    for leaf in leaves:
        leaf.translate(
            "the managed Redis sets maxmemory to 3/4 of its limit, appendonly and noeviction"
        )


def _words(text: str) -> list[str]:
    """The words of a command, also of one that is an argument of a shell."""
    text = text.replace("\\\n", " ")
    try:
        words = shlex.split(text) or [""]
    except ValueError:
        return text.split()
    return words if len(words) == 1 else [word for each in words for word in each.split() or [""]]


def _split_options(words: list[tuple[str, Field]]) -> tuple[list[Field], list[_Option]]:
    """What is not the server itself or an option of it, such as a configuration file; the options.

    A shell script may do anything before it starts the server.
    """
    names = [word for word, _ in words]
    start = next((at for at, word in enumerate(names) if _SERVER.fullmatch(word)), -1) + 1
    is_script = any(leaf.text != word for word, leaf in words[:start])
    others: list[Field] = [] if is_script else [leaf for _, leaf in words[: max(start - 1, 0)]]
    options: list[_Option] = []
    is_open = False
    for word, leaf in words[start:]:
        if word.startswith("--"):
            options.append((word[2:], [], [leaf]))
            is_open = True
        elif is_open and not _SHELL.fullmatch(word):
            options[-1][1].append(word)
            options[-1][2].append(leaf)
        elif not options:
            others.append(leaf)
        else:
            is_open = False
    return others, options


def _mistakes(words: list[str], options: dict[str, str]) -> list[str]:
    """What would lose jobs in the words of one field."""
    notes: list[str] = []
    policy = options.get("maxmemory-policy", "noeviction")
    if policy != "noeviction" and policy in words:
        notes.append(f"{policy} evicts queued jobs; the managed Redis uses noeviction")
    if any(map(_SERVER.fullmatch, words)) and options.get("appendonly") != "yes":
        notes.append("no append-only file; the managed Redis has one")
    return notes


def _container_memory(limit: str) -> str | None:
    """The container's limit of which ``--maxmemory`` is three quarters; None if it has none.

    >>> _container_memory("3gb"), _container_memory("4gb"), _container_memory("${MEMORY:-4gb}")
    ('4Gi', '5632Mi', '5632Mi')
    """
    try:
        needed = parse_memory_bytes(interpolate(limit.strip(), {})) * 4 // 3
    except (ValueError, NotSet):
        return None
    return format_memory(-(-needed // _ROUND_TO_BYTES) * _ROUND_TO_BYTES) if needed else None
