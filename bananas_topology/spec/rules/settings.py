"""Rules on single settings: variables, secrets, addresses, labels, patches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bananas_topology.contract.api import API_SETTINGS
from bananas_topology.contract.names import REDIS_SCHEMES
from bananas_topology.contract.settings import TOPOLOGY, Setting
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.spec.model import Patch
from bananas_topology.spec.nodes import Path, Scalar
from bananas_topology.spec.rules.context import Finding, RuleContext

_SECRET_NAME = re.compile(
    r"(^|_)(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_KEY|CREDENTIALS?)($|_)", re.IGNORECASE
)
_LABEL_KEY = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")


def _owners(context: RuleContext) -> Iterator[tuple[Path, str, Mapping[str, str], tuple[str, ...]]]:
    """Whoever has variables: path, how to speak of it, env and secrets."""
    for pool in context.topology.pools:
        yield context.path_of(pool), f'pool "{pool.name}"', pool.env, pool.secrets
    if api := context.topology.api:
        yield ("api",), "the api", api.env, api.secrets


def env_sets_no_contract_variable(context: RuleContext) -> Iterator[Finding]:
    """A setting has one place in the topology; its variable would win or lose silently."""
    for path, subject, env, secrets in _owners(context):
        is_api = path == ("api",)
        settings = {each.variable: each for each in (API_SETTINGS if is_api else WORKER_SETTINGS)}
        places: list[tuple[str, Path]] = [(name, (*path, "env", name)) for name in env]
        # The api's token is a secret anyway: to name it as one changes nothing.
        places += [
            (name, (*path, "secrets", at))
            for at, name in enumerate(secrets)
            if not (is_api and name == "API_TOKEN")
        ]
        for name, place in places:
            if name in settings:
                message = f"{subject} sets {name}, which Bananas sets itself"
                yield Finding(place, message, _instead_of(settings[name]), at_key=True)


def _instead_of(setting: Setting) -> str:
    """What to do instead of setting a variable of the contract."""
    if setting.is_secret and not setting.path:
        return "remove it; its value comes from the environment or the Secret"
    if not setting.path:
        return "remove it; it is set where the worker is started"
    owner = "the topology's " if setting.sections == (TOPOLOGY,) else ""
    return f"set {owner}{setting.path} instead"


def a_secret_has_no_value_in_the_file(context: RuleContext) -> Iterator[Finding]:
    """A variable is secret, or has a value that everybody can read; not both."""
    for path, subject, env, secrets in _owners(context):
        for name in env:
            if name in secrets:
                message = f'{subject} has {name} both in "env" and among its secrets'
                hint = "take it out of env; its value comes from the environment or the Secret"
                yield Finding((*path, "env", name), message, hint, at_key=True)


def no_secret_in_clear(context: RuleContext) -> Iterator[Finding]:
    """What is in `env` is in every rendered file."""
    for path, subject, env, secrets in _owners(context):
        for name, value in env.items():
            if name == "API_TOKEN" and path == ("api",):
                continue  # refused altogether
            if value and _SECRET_NAME.search(name) and name not in secrets:
                message = f"{name} of {subject} looks like a secret, and would be in rendered files"
                hint = f"name it under secrets instead, as in secrets: [{name}]"
                yield Finding((*path, "env", name), message, hint, at_key=True)


def redis_url_is_a_url(context: RuleContext) -> Iterator[Finding]:
    """Its scheme says how to connect; its value is never shown."""
    url = context.topology.redis.url
    if url is None:
        return
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in REDIS_SCHEMES or not rest or re.search(r"\s", url):
        yield Finding(
            ("redis", "url"),
            '"redis.url" does not hold the URL of a server',
            "expected redis://host:6379, rediss://, unix:// or redis+sentinel://",
        )


def no_password_in_clear(context: RuleContext) -> Iterator[Finding]:
    """A topology file is read by many, and kept for ever by version control."""
    node = context.node(("redis", "url"))
    if not isinstance(node, Scalar) or node.is_interpolated:
        return
    if re.match(r"[a-z+]+://[^/?#]*:[^/?#]+@", node.text):
        message = '"redis.url" has its password in the file'
        hint = "write url: ${REDIS_URL}, and set that where it runs"
        yield Finding(("redis", "url"), message, hint)


def a_hash_tag_is_whole(context: RuleContext) -> Iterator[Finding]:
    """Redis Cluster goes by what stands between the first braces; half a pair means nothing."""
    prefix = context.topology.redis.key_prefix
    if re.search(r"[{}]", prefix) and not re.fullmatch(r"[^{}]*\{[^{}]+\}[^{}]*", prefix):
        yield Finding(
            ("redis", "key_prefix"),
            f'the hash tag in the key prefix "{prefix}" is not whole',
            "write it as {bananas}",
        )


def an_address_range_is_one(context: RuleContext) -> Iterator[Finding]:
    """The network part of a range says all of it."""
    for pool in context.topology.pools:
        for at, egress in enumerate(pool.egress):
            # Few topologies have one, and the module takes a while.
            from ipaddress import ip_network

            try:
                ip_network(egress.cidr)
            except ValueError as error:
                path = (*context.path_of(pool), "egress", at, "cidr")
                message = f'"{egress.cidr}" is no address range: {error}'
                yield Finding(path, message, "expected one such as 10.0.0.0/8")


def labels_are_such_as_kubernetes_takes(context: RuleContext) -> Iterator[Finding]:
    """The cluster refuses an object with a label that is not well-formed."""
    maps: list[tuple[Path, Mapping[str, str]]] = []
    for pool in context.topology.pools:
        if pool.placement:
            path = (*context.path_of(pool), "placement")
            maps += [((*path, "prefer"), pool.placement.prefer)]
            maps += [((*path, "require"), pool.placement.require)]
    if context.topology.api and context.topology.api.placement:
        placement = context.topology.api.placement
        maps += [(("api", "placement", "prefer"), placement.prefer)]
        maps += [(("api", "placement", "require"), placement.require)]
    maps.append((("kubernetes", "labels"), context.topology.kubernetes.labels))
    expected = "expected up to 63 letters, digits, dashes, dots, underscores; ends alphanumeric"
    for path, labels in maps:
        for key, value in labels.items():
            if not _LABEL_KEY.fullmatch(key):
                message = f'"{key[:80]}" is no key of a label'
                yield Finding((*path, key), message, expected, at_key=True)
            elif not _LABEL_VALUE.fullmatch(value):
                yield Finding((*path, key), f'"{value[:80]}" is no value of a label', expected)
    for key in context.topology.kubernetes.annotations:
        if not _LABEL_KEY.fullmatch(key):
            path = ("kubernetes", "annotations", key)
            yield Finding(path, f'"{key[:80]}" is no key of an annotation', expected, at_key=True)


def a_patch_operation_is_complete(context: RuleContext) -> Iterator[Finding]:
    """Some operations take a value, others a place to take it from."""
    for target, patches in (
        ("kubernetes", context.topology.kubernetes.patches),
        ("compose", context.topology.compose.patches),
    ):
        for at, patch in enumerate(patches):
            yield from _incomplete((target, "patches", at, "json"), patch)


def _incomplete(path: Path, patch: Patch) -> Iterator[Finding]:
    for at, operation in enumerate(patch.operations):
        name = str(operation["op"])
        needed = {"add": "value", "replace": "value", "test": "value"} | {
            "move": "from",
            "copy": "from",
        }
        field = needed.get(name)
        if field and field not in operation:
            message = f'the operation "{name}" of this patch needs "{field}"'
            yield Finding((*path, at, "op"), message)
