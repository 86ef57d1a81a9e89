"""Files that describe a deployment of Bananas in, the text of a topology and a report out. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bananas_topology.errors import ImportRefused
from bananas_topology.importer.assemble import assemble
from bananas_topology.importer.compose import import_compose, is_compose
from bananas_topology.importer.draft import Draft
from bananas_topology.importer.kubernetes.manifests import import_manifests, is_manifest
from bananas_topology.importer.source import Field, Source, read
from bananas_topology.importer.status import FieldStatus
from bananas_topology.importer.writer import write

#: Where an editor finds the schema, once `bananas schema` was asked to put it there.
SCHEMA_URL = "topology.schema.json"

_LOOKED_FOR = (
    "looked for a service or container with WORKER_MODE, WORKER_CONCURRENCY, WORKER_PRIORITIES or "
    "WORKER_HANDLERS in its environment, or with the command python -m bananas_topology.worker"
)


@dataclass(frozen=True, slots=True)
class Imported:
    """A topology's text, what became of every field, and what a person should know."""

    text: str
    statuses: tuple[FieldStatus, ...]
    notices: tuple[str, ...]


def import_files(files: Sequence[tuple[str, str]], default_name: str) -> Imported:
    """Import files given by name and text; `default_name` is for those that name nothing.

    Raises:
        ImportRefused: a file cannot be read, or there is no worker of Bananas in any of them.
    """
    sources = [read(name, text) for name, text in files]
    draft = Draft()
    manifests = [each for source in sources for each in _import_compose_files(draft, source)]
    import_manifests(draft, manifests)
    if not draft.pools and draft.scheduler is None:
        names = ", ".join(name for name, _ in files)
        raise ImportRefused(f"{names}: not a deployment of Bananas: {_LOOKED_FOR}")
    draft.name = _label(draft.name or default_name)
    if not draft.handlers:
        draft.notices.append(
            "the files name no handlers: set `handlers` to the Python modules that hold yours"
        )
    text = write(assemble(draft), [name for name, _ in files], SCHEMA_URL)
    statuses = tuple(status for source in sources for status in source.statuses())
    return Imported(text, statuses, tuple(draft.notices))


def _import_compose_files(draft: Draft, source: Source) -> list[Field]:
    """Read the Compose files of a source; the Kubernetes manifests in it are returned."""
    manifests: list[Field] = []
    for document in source.documents:
        if is_manifest(document):
            manifests.append(document)
        elif is_compose(document):
            import_compose(draft, document)
        else:
            raise ImportRefused(
                f"{source.name}:{document.line}: neither a Compose file nor a Kubernetes manifest: "
                "looked for `services`, or for `apiVersion` and `kind`"
            )
    return manifests


def _label(name: str) -> str:
    """The name as a topology may have it: a DNS label."""
    label = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:63].strip("-")
    return label or "bananas"
