"""The environment of a container: plain variables, and references to ConfigMaps and Secrets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bananas_topology.importer.draft import Draft, Section, put_structure
from bananas_topology.importer.known import Row, translate_known
from bananas_topology.importer.redis_server import put_unknown_url
from bananas_topology.importer.source import Field
from bananas_topology.importer.variables import is_setting

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What Kubernetes expands in the value of a variable: ``$$``, and ``$(NAME)``.
_EXPANDED = re.compile(r"\$\$|\$\(([A-Za-z_.-][\w.-]*)\)")

#: Variables that workers and the api take from the Secret anyway.
_ALWAYS_SECRET = ("REDIS_URL", "API_TOKEN")

#: Variables with credentials, which a topology does not set.
_CREDENTIALS = (*_ALWAYS_SECRET, "API_READ_TOKEN")

#: The weight of credentials that can be in one Secret only, against any number of variables.
_DECISIVE = 1_000_000

_OWN_ID = "rendered workers get their pod's name as WORKER_ID"
_WORKER_ID: tuple[Row, ...] = (
    ("name", "", _OWN_ID),
    ("valueFrom.fieldRef.fieldPath", "metadata.name", _OWN_ID),
    ("valueFrom.fieldRef.apiVersion", "v1", _OWN_ID),
)

_URL_ELSEWHERE = "rendered pods read REDIS_URL from the Secret: add it there"
_SHARED = "shared variables become `defaults` or pool fields, rendered into each pod"


@dataclass(frozen=True, slots=True)
class References:
    """The ConfigMaps and Secrets among the files, by name."""

    config_maps: Mapping[str, Field]
    secrets: Mapping[str, Field]


@dataclass(slots=True)
class Environment:
    """A container's variables: plain ones as in a topology, and the names of secret ones.

    `references` and `sources` are the values of a topology's `env` and `env_from` for keys of
    objects, and whole objects, that are not among the files; each with its fields.
    """

    plain: dict[str, tuple[str, Field]] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    references: dict[str, tuple[Section, list[Field]]] = field(default_factory=dict)
    sources: list[tuple[Section, list[Field]]] = field(default_factory=list)

    def forget(self, name: str) -> None:
        """Remove a variable that is defined again."""
        self.plain.pop(name, None)
        self.references.pop(name, None)
        if name in self.secrets:
            self.secrets.remove(name)


def put_secret_name(
    draft: Draft,
    containers: Iterable[Field],
    files: Iterable[tuple[Field, Field]],
    references: References,
) -> None:
    """Set the name of the Secret: the one that credentials come from, else most variables.

    Rendered pods read a variable from the key of the same name; other keys do not count. That of
    the server's URL counts like a variable: a topology can have it in another Secret. `files` are
    the items of Secrets that are mounted as files with credentials.
    """
    counts: Counter[str] = Counter()
    for secret, item in files:
        if item.text_of("key") == item.text_of("path"):
            counts[secret.text] += 1 if item.text_of("path") == "REDIS_URL" else _DECISIVE
    for container in containers:
        for entry in container.child("env").items:
            reference, name = entry.child("valueFrom", "secretKeyRef"), entry.text_of("name")
            if reference.text_of("key") == name and reference.text_of("optional") != "true":
                weight = _DECISIVE if name == "API_TOKEN" else 1
                counts[reference.text_of("name")] += weight
        for source in container.child("envFrom").items:
            if _is_whole(source):
                name = source.text_of("secretRef", "name")
                is_decisive = "REDIS_URL" in _keys_of(references.secrets.get(name))
                counts[name] += _DECISIVE if is_decisive else 0
    del counts[""]
    for name, _ in counts.most_common(1):
        draft.kubernetes["secret"] = name


def _is_whole(source: Field) -> bool:
    """Whether a Secret's keys are the names of variables, and it must exist."""
    return not source.get("prefix") and source.text_of("secretRef", "optional") != "true"


def _keys_of(secret: Field | None) -> list[str]:
    if secret is None:
        return []
    return [*secret.child("data").mapping, *secret.child("stringData").mapping]


def read_environment(draft: Draft, container: Field, references: References) -> Environment:
    """A container's variables; its own take precedence over those from ``envFrom``."""
    environment = Environment()
    for source in container.child("envFrom").items:
        _read_source(draft, environment, source, references)
    for entry in container.child("env").items:
        _read_entry(draft, environment, entry, references)
    return environment


def put_references(draft: Draft, section: Section, environment: Environment) -> None:
    """List secret variables and references to objects.

    An external Redis is used if only a Secret knows its URL.
    """
    for name in environment.secrets:
        if name == "REDIS_URL":
            put_unknown_url(draft)
        elif name not in _ALWAYS_SECRET:
            names = section.setdefault("secrets", [])
            if name not in names:
                names.append(name)
    for name, (reference, fields) in environment.references.items():
        put_structure(section, ("env", name), reference, *fields)
    for source, fields in environment.sources:
        if put_structure({}, ("env_from",), [source], *fields):
            section["env_from"] = [*section.get("env_from", []), source]


def _read_source(
    draft: Draft, environment: Environment, source: Field, references: References
) -> None:
    prefix = source.text_of("prefix")
    config_map = references.config_maps.get(source.text_of("configMapRef", "name"))
    secret = source.child("secretRef", "name")
    keys = _keys_of(references.secrets.get(secret.text))
    if config_map is not None:
        for key, leaf in config_map.child("data").mapping.items():
            _put_plain(environment, f"{prefix}{key}", literal(leaf.text), leaf)
        for reference in (source.get("configMapRef", "name"), source.get("prefix")):
            if reference:
                reference.translate(_SHARED)
    elif keys and secret.text == draft.kubernetes.get("secret") and _is_whole(source):
        for key in keys:
            _put_secret(environment, key)
        secret.keep()
    else:
        _read_unknown_source(draft, environment, source)


def _read_unknown_source(draft: Draft, environment: Environment, source: Field) -> None:
    """Keep a reference to an object whose keys are not known."""
    kind = "secret" if source.get("secretRef") else "config"
    reference = source.child("secretRef" if kind == "secret" else "configMapRef")
    entry: Section = {kind: reference.text_of("name")}
    if prefix := source.get("prefix"):
        entry["prefix"] = prefix.text
    if reference.text_of("optional") == "true":
        entry["optional"] = True
    fields = [*reference.leaves_at("name", "optional"), *source.leaves_at("prefix")]
    environment.sources.append((entry, fields))
    is_own = kind == "secret" and entry[kind] == draft.kubernetes.get("secret")
    if is_own and _is_whole(source) and "REDIS_URL" not in environment.plain:
        # Nothing else tells where the server is.
        _put_secret(environment, "REDIS_URL")
    notice = (
        f'{"Secret" if kind == "secret" else "ConfigMap"} "{entry[kind]}" is not among the files: '
        "settings of workers in it are overridden by the topology's"
    )
    if notice not in draft.notices:
        draft.notices.append(notice)


def _read_entry(
    draft: Draft, environment: Environment, entry: Field, references: References
) -> None:
    name, value = entry.text_of("name"), entry.get("value")
    environment.forget(name)
    config = entry.get("valueFrom", "configMapKeyRef")
    if value is None and name in _CREDENTIALS and not entry.get("valueFrom"):
        entry.child("name").translate("credentials are rendered as files")
    elif name and not entry.get("valueFrom"):  # without a value, it is empty
        text = expanded(value.text if value else "", environment)
        if text is not None:
            _put_plain(environment, name, literal(text), value or entry.child("name"))
            if name in environment.plain:
                entry.child("name").keep()
        elif name == "REDIS_URL":
            put_unknown_url(draft)
            entry.drop(_URL_ELSEWHERE)
        else:
            entry.drop("it refers to a variable whose value is not in the files")
    elif entry.get("valueFrom", "secretKeyRef"):
        _read_secret_key(draft, environment, entry, name)
    elif config is not None:
        _read_config_key(draft, environment, entry, config, references)
    elif name == "WORKER_ID":
        translate_known(entry, _WORKER_ID)
    elif entry.get("valueFrom"):
        entry.drop("a topology has no values from the pod: use `kubernetes.patches`")


def _read_secret_key(draft: Draft, environment: Environment, entry: Field, name: str) -> None:
    reference = entry.child("valueFrom", "secretKeyRef")
    secret, key = reference.child("name"), reference.child("key")
    is_own = (secret.text, key.text) == (draft.kubernetes.get("secret"), name)
    if name in _ALWAYS_SECRET:
        _put_secret(environment, name)
        entry.child("name").keep()
        if name == "REDIS_URL" and not is_own and not draft.has_server:
            put_url_secret(draft, secret, key)
        mark_secret_name(draft, secret)
        if key.text == name:
            key.keep()
        else:
            key.drop(f"rendered pods read the key {name}: add it to the Secret")
    elif is_own and reference.text_of("optional") != "true":
        _put_secret(environment, name)
        for leaf in (entry.child("name"), secret, key):
            leaf.keep()
    else:
        _put_reference(draft, environment, entry, name, "secret")


def _put_reference(
    draft: Draft, environment: Environment, entry: Field, name: str, kind: str
) -> None:
    """Keep a reference to a key of an object that is not among the files."""
    if name == "REDIS_URL":
        put_unknown_url(draft)
        entry.drop(_URL_ELSEWHERE)
        return
    if is_setting(name):
        entry.drop(f"the topology sets {name}: write its value there")
        return
    reference = entry.child("valueFrom", f"{'secret' if kind == 'secret' else 'configMap'}KeyRef")
    made: Section = {kind: reference.text_of("name")}
    if reference.text_of("key") != name:
        made["key"] = reference.text_of("key")
    if reference.text_of("optional") == "true":
        made["optional"] = True
    fields = [*entry.leaves_at("name"), *reference.leaves_at("name", "key", "optional")]
    environment.references[name] = (made, fields)


def mark_secret_name(draft: Draft, name: Field) -> None:
    """Mark the name of a Secret; rendered objects refer to one."""
    secret = draft.kubernetes.get("secret")
    if name.text == secret:
        name.keep()
    else:
        which = f"the Secret {secret}" if secret else "`kubernetes.secret`"
        name.drop(f"rendered pods read {which}: add the variable there")


def put_url_secret(draft: Draft, secret: Field, key: Field) -> None:
    """Set that the server's URL is in another Secret, or under another key."""
    entry = {"name": secret.text}
    if key.text != "REDIS_URL":
        entry["key"] = key.text
    put_structure(draft.redis, ("secret",), entry, secret, key)


def _read_config_key(
    draft: Draft, environment: Environment, entry: Field, config: Field, references: References
) -> None:
    name = entry.text_of("name")
    config_map = references.config_maps.get(config.text_of("name"))
    value = config_map.get("data", config.text_of("key")) if config_map else None
    if value is None:
        _put_reference(draft, environment, entry, name, "config")
        return
    _put_plain(environment, name, literal(value.text), value)
    entry.child("name").keep()
    for key in ("name", "key"):
        config.child(key).translate("the value is in the topology")


def _put_plain(environment: Environment, name: str, text: str, source: Field) -> None:
    environment.forget(name)
    if _VARIABLE_NAME.fullmatch(name):
        environment.plain[name] = (text, source)
    else:
        source.drop("not the name of a variable: use `kubernetes.patches`")


def _put_secret(environment: Environment, name: str) -> None:
    environment.forget(name)
    if _VARIABLE_NAME.fullmatch(name) and (name in _CREDENTIALS or not is_setting(name)):
        environment.secrets.append(name)


def literal(text: str) -> str:
    """A text as a topology writes it, which interpolates ``$``."""
    return text.replace("$", "$$")


def names_in(text: str) -> set[str]:
    """The variables that a text refers to.

    >>> names_in("$(A) $$(B)")
    {'A'}
    """
    return {match[1] for match in _EXPANDED.finditer(text) if match[1]}


def expanded(text: str, environment: Environment) -> str | None:
    """A text as its container gets it; None if that depends on what is not known here.

    As in Kubernetes, `$$` is a `$`, and a reference to an unknown variable stays as it is.
    """
    names = names_in(text)
    if names & {*environment.secrets, *environment.references}:
        return None
    if environment.sources and names - environment.plain.keys():
        return None

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        known = environment.plain.get(match[1])
        return match[0] if known is None else known[0].replace("$$", "$")

    return _EXPANDED.sub(replace, text)
