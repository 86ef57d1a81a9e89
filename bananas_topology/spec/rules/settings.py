"""Rules on single settings: variables, secrets, addresses, labels, patches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bananas_topology.contract.api import API_SETTINGS
from bananas_topology.contract.names import is_secret_name
from bananas_topology.contract.redis_url import check_url, has_password
from bananas_topology.contract.settings import TOPOLOGY, Setting
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.spec.model import Patch, Placement
from bananas_topology.spec.nodes import KeyPath, ScalarNode
from bananas_topology.spec.rules.context import RuleContext, Violation, rule

#: The address of a database or a broker, with the password that it wants.
_URL_WITH_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@:]*:[^\s/?#@]+@")

#: Variables that `secrets` of the api may list although they are settings of ours.
_TOKENS = ("API_TOKEN", "API_READ_TOKEN")

_LABEL_KEY = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_EXPECTED_LABEL = (
    "expected up to 63 letters, digits, dashes, dots and underscores, starting and ending with a "
    "letter or digit"
)

#: The default of `kubernetes.network.dns.cidrs`.
_NODE_LOCAL_DNS = "169.254.20.10/32"

#: Characters of a label that a message shows.
_MAX_SHOWN = 80

#: Operations of JSON Patch to the field that they require beside their path.
_REQUIRED_BY = {
    "add": "value",
    "replace": "value",
    "test": "value",
    "move": "from",
    "copy": "from",
}


def _environments(
    context: RuleContext,
) -> Iterator[tuple[KeyPath, str, Mapping[str, str], tuple[str, ...]]]:
    """The sections with variables: path, subject of messages, env and secrets.

    In `env`, a reference has no text.
    """
    for pool in context.topology.pools:
        env = {**pool.env, **dict.fromkeys(pool.container.references, "")}
        yield context.path_of(pool), f'pool "{pool.name}"', env, pool.secrets
    if api := context.topology.api:
        env = {**api.env, **dict.fromkeys(api.container.references, "")}
        yield ("api",), "the api", env, api.secrets


@rule("BT230", "Variable that Bananas sets itself", example="env: {WORKER_MODE: thin}")
def env_sets_no_variable_of_ours(context: RuleContext) -> Iterator[Violation]:
    """A setting has one place in the topology; its variable would win or lose silently."""
    for path, subject, env, secrets in _environments(context):
        is_api = path == ("api",)
        settings = {each.variable: each for each in (API_SETTINGS if is_api else WORKER_SETTINGS)}
        places: list[tuple[str, KeyPath]] = [(name, (*path, "env", name)) for name in env]
        # API_TOKEN is a secret anyway: listing it changes nothing. API_READ_TOKEN is optional, so
        # listing it says that there is one.
        places += [
            (name, (*path, "secrets", at))
            for at, name in enumerate(secrets)
            if not (is_api and name in _TOKENS)
        ]
        for name, place in places:
            if name in settings:
                message = f"{subject} sets {name}, which Bananas sets itself"
                yield Violation(place, message, _alternative(settings[name]), at_key=True)


def _alternative(setting: Setting) -> str:
    """What to do instead of setting a variable of ours."""
    if setting.is_secret and not setting.path:
        return "remove it; its value comes from the environment or the Secret"
    if not setting.path:
        return "remove it; it is set where the worker is started"
    owner = "the topology's " if setting.sections == (TOPOLOGY,) else ""
    return f"set {owner}{setting.path} instead"


@rule("BT231", "Variable in both `env` and `secrets`", example="{env: {A: b}, secrets: [A]}")
def secrets_have_no_value_in_the_file(context: RuleContext) -> Iterator[Violation]:
    """A variable is secret, or has a value that everyone can read; not both."""
    for path, subject, env, secrets in _environments(context):
        for name in env:
            if name in secrets:
                message = f'{subject} has {name} in both "env" and "secrets"'
                hint = "remove it from env; its value comes from the environment or the Secret"
                yield Violation((*path, "env", name), message, hint, at_key=True)


@rule("BT321", "Variable that looks like a secret", example="env: {DB_PASSWORD: hunter2}")
def env_has_no_secrets(context: RuleContext) -> Iterator[Violation]:
    """Everything in `env` appears in rendered files."""
    for path, subject, env, secrets in _environments(context):
        for name, value in env.items():
            if name in _TOKENS and path == ("api",):
                continue  # an error already: BT230
            if name in secrets or not value:
                continue
            is_url = _URL_WITH_PASSWORD.match(value) is not None
            if is_url or is_secret_name(name):
                what = "contains a password" if is_url else "looks like a secret"
                message = f"{name} of {subject} {what}, and appears in rendered files"
                hint = f"move it to secrets, as in secrets: [{name}]"
                yield Violation((*path, "env", name), message, hint, at_key=True)


@rule("BT232", "Invalid server URL", example="redis: {url: localhost}")
def the_redis_url_is_valid(context: RuleContext) -> Iterator[Violation]:
    """Its scheme decides how to connect. Its value is never shown."""
    url = context.topology.redis.url
    if url is not None and (reason := check_url(url)) is not None:
        message = f'"redis.url" is not a valid server URL (value hidden): {reason}'
        yield Violation(("redis", "url"), message)


@rule("BT320", "Password in the file", example="url: redis://:hunter2@host")
def the_redis_url_has_no_password(context: RuleContext) -> Iterator[Violation]:
    """Many people read a topology file, and version control keeps it permanently."""
    node = context.node(("redis", "url"))
    if not isinstance(node, ScalarNode) or node.is_interpolated:
        return
    if has_password(node.text):
        message = '"redis.url" contains a password'
        hint = "write url: ${REDIS_URL}, and set that variable in the environment"
        yield Violation(("redis", "url"), message, hint)


@rule("BT233", "Incomplete hash tag in the key prefix", example='key_prefix: "{bananas"')
def hash_tags_are_complete(context: RuleContext) -> Iterator[Violation]:
    """Redis Cluster hashes what is between the first braces; half a pair means nothing."""
    prefix = context.topology.redis.key_prefix
    if re.search(r"[{}]", prefix) and not re.fullmatch(r"[^{}]*\{[^{}]+\}[^{}]*", prefix):
        yield Violation(
            ("redis", "key_prefix"),
            f'the key prefix "{prefix}" has an incomplete hash tag',
            "write it as {bananas}",
        )


@rule("BT234", "Invalid address range", example="egress: [{cidr: 10.0.0.1/8}]")
def address_ranges_are_valid(context: RuleContext) -> Iterator[Violation]:
    """An address range has no bits set behind its prefix."""
    cidrs: list[tuple[KeyPath, str]] = [
        ((*context.path_of(pool), "egress", at, "cidr"), egress.cidr)
        for pool in context.topology.pools
        for at, egress in enumerate(pool.egress)
    ]
    dns: KeyPath = ("kubernetes", "network", "dns", "cidrs")
    addresses = context.topology.kubernetes.network.dns_cidrs
    cidrs += [((*dns, at), cidr) for at, cidr in enumerate(addresses)]
    for path, cidr in cidrs:
        if cidr == _NODE_LOCAL_DNS:
            continue
        # Few topologies have another one, and the import takes a while.
        from ipaddress import ip_network

        try:
            ip_network(cidr)
        except ValueError as error:
            message = f'"{cidr}" is not a valid address range: {error}'
            yield Violation(path, message, "expected a range such as 10.0.0.0/8")


def _placements(context: RuleContext) -> Iterator[tuple[KeyPath, Placement]]:
    for pool in context.topology.pools:
        if pool.placement:
            yield (*context.path_of(pool), "placement"), pool.placement
    if context.topology.api and context.topology.api.placement:
        yield ("api", "placement"), context.topology.api.placement


@rule("BT235", "Invalid label or annotation", example="labels: {team: a b}")
def labels_are_valid(context: RuleContext) -> Iterator[Violation]:
    """Kubernetes rejects objects with invalid labels."""
    maps: list[tuple[KeyPath, Mapping[str, str]]] = []
    for place, placement in _placements(context):
        maps += [((*place, "prefer"), placement.prefer), ((*place, "require"), placement.require)]
    maps.append((("kubernetes", "labels"), context.topology.kubernetes.labels))
    for path, labels in maps:
        for key, value in labels.items():
            if not _LABEL_KEY.fullmatch(key):
                message = f'"{key[:_MAX_SHOWN]}" is not a valid label key'
                yield Violation((*path, key), message, _EXPECTED_LABEL, at_key=True)
            elif not _LABEL_VALUE.fullmatch(value):
                message = f'"{value[:_MAX_SHOWN]}" is not a valid label value'
                yield Violation((*path, key), message, _EXPECTED_LABEL)
    kubernetes = context.topology.kubernetes
    annotated: tuple[tuple[KeyPath, Mapping[str, str]], ...] = (
        (("kubernetes", "annotations"), kubernetes.annotations),
        (("kubernetes", "service_account", "annotations"), kubernetes.service_account.annotations),
    )
    for path, keys in annotated:
        for key in keys:
            if not _LABEL_KEY.fullmatch(key):
                message = f'"{key[:_MAX_SHOWN]}" is not a valid annotation key'
                yield Violation((*path, key), message, _EXPECTED_LABEL, at_key=True)


@rule("BT238", "Invalid toleration", example="tolerations: [{operator: Exists, value: a}]")
def tolerations_are_valid(context: RuleContext) -> Iterator[Violation]:
    """Kubernetes rejects pods with invalid tolerations."""
    for place, placement in _placements(context):
        for at, each in enumerate(placement.tolerations):
            path = (*place, "tolerations", at)
            exists = each.operator == "Exists"
            if each.key is None and not exists:
                message = "a toleration without key requires the operator Exists"
                yield Violation(path, message, "name the key of the taint")
            elif each.key is not None and not _LABEL_KEY.fullmatch(each.key):
                message = f'"{each.key[:_MAX_SHOWN]}" is not a valid key of a taint'
                yield Violation((*path, "key"), message, _EXPECTED_LABEL)
            if each.value and exists:
                message = "a toleration with the operator Exists has no value"
                yield Violation((*path, "value"), message, "remove it, or use the operator Equal")
            elif each.value and not _LABEL_VALUE.fullmatch(each.value):
                message = f'"{each.value[:_MAX_SHOWN]}" is not a valid value of a taint'
                yield Violation((*path, "value"), message, _EXPECTED_LABEL)


@rule("BT236", "Incomplete patch operation", example="json: [{op: add, path: /a}]")
def patch_operations_are_complete(context: RuleContext) -> Iterator[Violation]:
    """Some operations require a value, others a source."""
    for target, patches in (
        ("kubernetes", context.topology.kubernetes.patches),
        ("compose", context.topology.compose.patches),
    ):
        for at, patch in enumerate(patches):
            yield from _incomplete((target, "patches", at, "json"), patch)


def _incomplete(path: KeyPath, patch: Patch) -> Iterator[Violation]:
    for at, operation in enumerate(patch.operations):
        name = str(operation["op"])
        field = _REQUIRED_BY.get(name)
        if field and field not in operation:
            yield Violation((*path, at, "op"), f'patch operation "{name}" requires "{field}"')
