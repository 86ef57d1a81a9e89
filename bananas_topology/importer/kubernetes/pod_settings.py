"""Import what a topology sets for all pods: account, pulling of images, labels and annotations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bananas_topology.importer.draft import Draft, put, put_structure
from bananas_topology.importer.known import translate_only
from bananas_topology.importer.kubernetes.environment import literal
from bananas_topology.importer.kubernetes.known import STANDARD, is_rendered
from bananas_topology.importer.source import Field
from bananas_topology.importer.status import Status

_DEFAULT = "the default of Kubernetes for this tag"

#: Labels that rendered objects have, and annotations that a cluster or a field of its own sets.
_NOT_COMMON = re.compile(
    rf"app\.kubernetes\.io/({'|'.join(STANDARD)})|bananas/.*"
    r"|pod-template-hash|(kubectl|deployment)\.kubernetes\.io/.*|prometheus\.io/.*"
)

#: Kinds of objects that are not rendered with the topology's labels and annotations.
_WITHOUT = ("ConfigMap", "Secret")


def import_pod_settings(
    draft: Draft, workloads: Sequence[Field], containers: Sequence[Field], objects: Sequence[Field]
) -> None:
    """Import what the pods of all workloads share; `containers` are their main ones."""
    accounts = {
        each.text_of("metadata", "name"): each
        for each in objects
        if each.text_of("kind") == "ServiceAccount"
    }
    _import_labels(draft, workloads, objects)
    for workload in workloads:
        pod = workload.child("spec", "template", "spec")
        if account := pod.get("serviceAccountName") or pod.get("serviceAccount"):
            _import_account(draft, account, accounts)
        import_pull_secrets(draft, pod.child("imagePullSecrets"))
    _import_pull_policy(draft, containers)
    ours = [each for each in workloads if is_rendered(each)]
    security = [each.child("spec", "template", "spec", "securityContext") for each in ours]
    if security and not any(each.get("runAsUser") for each in security):
        put_structure(draft.kubernetes, ("platform",), "openshift")


def check_redis_pod(draft: Draft, pod: Field, container: Field) -> None:
    """Mark in the pods of the managed Redis what all rendered pods have."""
    account = pod.get("serviceAccountName") or pod.child("serviceAccount")
    chosen = draft.kubernetes.get("service_account", {}).get("name")
    if account.text and (account.text == chosen or (not chosen and _is_default(account.text))):
        account.translate("rendered pods have this account")
    import_pull_secrets(draft, pod.child("imagePullSecrets"))
    check_pull_policy(draft, container)


def _is_default(account: str) -> bool:
    """Whether a service account has the name of one that is rendered by default."""
    return re.fullmatch(r"(.*-)?bananas", account) is not None


def _import_account(draft: Draft, name: Field, accounts: Mapping[str, Field]) -> None:
    """Import the name of the pods' service account, and the account if it is in the files."""
    account = accounts.get(name.text)
    if (account is None or is_rendered(account)) and _is_default(name.text):
        name.translate("rendered pods have this account")
    else:
        put(draft.kubernetes, ("service_account", "name"), name.text, name)
        if name.status is not Status.KEPT:
            return  # all pods have the same
        if account is None:
            put(draft.kubernetes, ("service_account", "create"), False, None)
    if account is None:
        return
    common = draft.kubernetes.get("annotations", {})
    for key, leaf in account.child("metadata", "annotations").mapping.items():
        if not _NOT_COMMON.fullmatch(key) and common.get(key) != literal(leaf.text):
            path = ("service_account", "annotations", key)
            put(draft.kubernetes, path, literal(leaf.text), leaf)
    import_pull_secrets(draft, account.child("imagePullSecrets"))
    account.child("metadata", "name").translate("`kubernetes.service_account`")
    if account.text_of("automountServiceAccountToken") == "false":
        translate_only(account, "rendered accounts set it", "automountServiceAccountToken")


def import_pull_secrets(draft: Draft, secrets: Field) -> None:
    """Import the Secrets that images are pulled with; rendered pods have all of them."""
    for secret in secrets.items:
        name = secret.child("name")
        names = draft.kubernetes.get("image_pull_secrets", [])
        if name.text in names:
            name.keep()
        elif put_structure({}, ("image_pull_secrets",), [name.text], name):
            draft.kubernetes["image_pull_secrets"] = [*names, name.text]


def _import_pull_policy(draft: Draft, containers: Sequence[Field]) -> None:
    """Import when images are pulled, which is the same for all pods, or depends on their tags."""
    used = {
        container.text_of("imagePullPolicy") or _expected_policy(container)
        for container in containers
    }
    if len(used) == 1 and any(used != {_expected_policy(each)} for each in containers):
        [policy] = used
        put_structure(draft.kubernetes, ("image_pull_policy",), policy)
    for container in containers:
        check_pull_policy(draft, container)


def check_pull_policy(draft: Draft, container: Field) -> None:
    """Mark when to pull an image; rendered pods do it as the topology or the tag says."""
    policy = container.child("imagePullPolicy")
    common = draft.kubernetes.get("image_pull_policy")
    expected = _expected_policy(container)
    if policy.text == common:
        policy.keep()
    elif policy.text == expected and not common:
        policy.translate(_DEFAULT)
    else:
        note = "as `kubernetes.image_pull_policy` says" if common else "for this tag"
        policy.drop(f"rendered pods use {common or expected} {note}")


def _expected_policy(container: Field) -> str:
    image = container.text_of("image")
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") and "@" not in image else "IfNotPresent"


def _import_labels(draft: Draft, workloads: Sequence[Field], objects: Iterable[Field]) -> None:
    """Import labels and annotations that all workloads, or all their pods, have."""
    selected = {
        name for each in workloads for name in each.child("spec", "selector", "matchLabels").mapping
    }
    for kind in ("labels", "annotations"):
        for path in (("metadata",), ("spec", "template", "metadata")):
            for name, text in _common(each.child(*path, kind) for each in workloads):
                if name not in selected and not _NOT_COMMON.fullmatch(name):
                    put_structure(draft.kubernetes, (kind, name), literal(text))
        common = draft.kubernetes.get(kind, {})
        for each in objects:
            _keep_common(each, kind, common)


def _keep_common(document: Field, kind: str, common: Mapping[str, str]) -> None:
    if document.text_of("kind") in _WITHOUT:
        return
    for path in (("metadata",), ("spec", "template", "metadata")):
        for name, leaf in document.child(*path, kind).mapping.items():
            if common.get(name) == literal(leaf.text):
                leaf.keep("rendered objects and pods all have it")


def _common(maps: Iterable[Field]) -> Iterator[tuple[str, str]]:
    """The entries that all maps have with the same text."""
    texts = [each.texts for each in maps]
    for name, text in texts[0].items() if texts else ():
        if all(each.get(name) == text for each in texts):
            yield name, text
