"""The environment of a container: plain variables, and references to ConfigMaps and Secrets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bananas_topology.importer.draft import Draft, Section, put
from bananas_topology.importer.known import Row, translate_known
from bananas_topology.importer.source import EnvironmentFields, Field

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What Kubernetes expands in the value of a variable: ``$$``, and ``$(NAME)``.
_EXPANDED = re.compile(r"\$\$|\$\(([A-Za-z_.-][\w.-]*)\)")

#: Variables that workers and the api take from the Secret anyway.
_ALWAYS_SECRET = ("REDIS_URL", "API_TOKEN")

_OWN_ID = "rendered workers get their pod's name as WORKER_ID"
_WORKER_ID: tuple[Row, ...] = (
    ("name", "", _OWN_ID),
    ("valueFrom.fieldRef.fieldPath", "metadata.name", _OWN_ID),
    ("valueFrom.fieldRef.apiVersion", "v1", _OWN_ID),
)

_SHARED = "shared variables become `defaults` or pool fields, rendered into each pod"


@dataclass(frozen=True, slots=True)
class References:
    """The ConfigMaps and Secrets among the files, by name."""

    config_maps: Mapping[str, Field]
    secrets: Mapping[str, Field]


@dataclass(slots=True)
class Environment:
    """A container's variables: plain ones as in a topology, and the names of secret ones."""

    plain: dict[str, tuple[str, Field]] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)

    @property
    def fields(self) -> EnvironmentFields:
        return self.plain


def put_secret_name(draft: Draft, pods: Iterable[Field]) -> None:
    """Set the name of the Secret: the one that most variables and credentials come from."""
    counts: Counter[str] = Counter()
    for pod in pods:
        for volume in pod.child("volumes").items:
            if has_credentials(volume):
                counts[volume.text_of("secret", "secretName")] += 1
        container = next(iter(pod.child("containers").items), Field("", 0))
        for entry in container.child("env").items:
            counts[entry.text_of("valueFrom", "secretKeyRef", "name")] += 1
        for source in container.child("envFrom").items:
            counts[source.text_of("secretRef", "name")] += 1
    del counts[""]
    for name, _ in counts.most_common(1):
        draft.kubernetes["secret"] = name


def has_credentials(volume: Field) -> bool:
    """Whether a volume is what rendered pods have their credentials from."""
    keys = {item.text_of("key") for item in volume.child("secret", "items").items}
    return bool(keys) and keys <= {"REDIS_URL", "REDIS_PASSWORD", "API_TOKEN"}


def read_environment(draft: Draft, container: Field, references: References) -> Environment:
    """A container's variables; its own take precedence over those from ``envFrom``."""
    environment = Environment()
    for source in container.child("envFrom").items:
        _read_source(draft, environment, source, references)
    for entry in container.child("env").items:
        _read_entry(draft, environment, entry, references)
    return environment


def put_secrets(draft: Draft, section: Section, environment: Environment) -> None:
    """List secret variables, and use an external Redis if only a Secret knows its URL."""
    for name in environment.secrets:
        if name == "REDIS_URL" and not draft.has_managed_redis:
            put(draft.redis, ("url",), "${REDIS_URL}", None)
        elif name not in _ALWAYS_SECRET:
            names = section.setdefault("secrets", [])
            if name not in names:
                names.append(name)


def _read_source(
    draft: Draft, environment: Environment, source: Field, references: References
) -> None:
    prefix = source.text_of("prefix")
    config_map = references.config_maps.get(source.text_of("configMapRef", "name"))
    secret = references.secrets.get(source.text_of("secretRef", "name"))
    if config_map is not None:
        for key, leaf in config_map.child("data").mapping.items():
            _put_plain(environment, f"{prefix}{key}", _literal(leaf.text), leaf)
        for reference in (source.get("configMapRef", "name"), source.get("prefix")):
            if reference:
                reference.translate(_SHARED)
    elif secret is not None:
        names = [*secret.child("data").mapping, *secret.child("stringData").mapping]
        for key in names:
            _put_secret(environment, f"{prefix}{key}")
        if not prefix:
            mark_secret_name(draft, source.child("secretRef", "name"))
    elif source.get("secretRef"):
        _put_secret(environment, "REDIS_URL")
        source.drop("the variables of this Secret are not known: list them in `secrets`")
    else:
        source.drop("the ConfigMap is not among the files: add its variables to `env`")


def _read_entry(
    draft: Draft, environment: Environment, entry: Field, references: References
) -> None:
    name, value = entry.text_of("name"), entry.get("value")
    environment.plain.pop(name, None)
    config = entry.get("valueFrom", "configMapKeyRef")
    if value is not None and name:
        text = _expanded(value.text, environment)
        if text is None:
            entry.drop("it refers to a variable that is secret: build the value in a handler")
        else:
            _put_plain(environment, name, _literal(text), value)
            entry.child("name").keep()
    elif entry.get("valueFrom", "secretKeyRef"):
        _read_secret_key(draft, environment, entry, name)
    elif config is not None:
        _read_config_key(environment, entry, name, config, references)
    elif name == "WORKER_ID":
        translate_known(entry, _WORKER_ID)
    elif entry.get("valueFrom"):
        entry.drop("a topology has no values from the pod: use `kubernetes.patches`")


def _read_secret_key(draft: Draft, environment: Environment, entry: Field, name: str) -> None:
    _put_secret(environment, name)
    entry.child("name").keep()
    reference = entry.child("valueFrom", "secretKeyRef")
    mark_secret_name(draft, reference.child("name"))
    key = reference.child("key")
    if key.text == name:
        key.keep()
    else:
        key.drop(f"rendered workers read the key {name}: add it to the Secret")


def mark_secret_name(draft: Draft, name: Field) -> None:
    """Mark the name of a Secret; rendered objects refer to one."""
    secret = draft.kubernetes.get("secret")
    if name.text == secret:
        name.keep()
    else:
        name.drop(f"rendered workers read the Secret {secret}: add the variable there")


def _read_config_key(
    environment: Environment, entry: Field, name: str, config: Field, references: References
) -> None:
    config_map = references.config_maps.get(config.text_of("name"))
    value = config_map.get("data", config.text_of("key")) if config_map else None
    if value is None:
        entry.drop("the ConfigMap is not among the files: add the variable to `env`")
        return
    _put_plain(environment, name, _literal(value.text), value)
    entry.child("name").keep()
    for key in ("name", "key"):
        config.child(key).translate("the value is in the topology")


def _put_plain(environment: Environment, name: str, text: str, source: Field) -> None:
    if _VARIABLE_NAME.fullmatch(name):
        environment.plain[name] = (text, source)
    else:
        source.drop("not the name of a variable: use `kubernetes.patches`")


def _put_secret(environment: Environment, name: str) -> None:
    environment.plain.pop(name, None)
    if _VARIABLE_NAME.fullmatch(name) and name not in environment.secrets:
        environment.secrets.append(name)


def _literal(text: str) -> str:
    """A text as a topology writes it, which interpolates ``$``."""
    return text.replace("$", "$$")


def _expanded(text: str, environment: Environment) -> str | None:
    """A value as its container gets it; None if that depends on a secret variable.

    As in Kubernetes, `$$` is a `$`, and a reference to an unknown variable stays as it is.
    """
    names = [match[1] for match in _EXPANDED.finditer(text) if match[1]]
    if any(name in environment.secrets for name in names):
        return None

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        known = environment.plain.get(match[1])
        return match[0] if known is None else known[0].replace("$$", "$")

    return _EXPANDED.sub(replace, text)
