"""Import the files of a deployment as the text of a topology, with a report. Pure."""

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

#: Where editors find the schema, after `bananas schema` has written it there.
SCHEMA_URL = "topology.schema.json"

_LOOKED_FOR = (
    "looked for a service or container with WORKER_MODE, WORKER_CONCURRENCY, WORKER_PRIORITIES or "
    "WORKER_HANDLERS in its environment, or with the command python -m bananas_topology.worker"
)


@dataclass(frozen=True, slots=True)
class Imported:
    """A topology's text, the status of every field, and notices for the user."""

    text: str
    statuses: tuple[FieldStatus, ...]
    notices: tuple[str, ...]


def import_files(files: Sequence[tuple[str, str]], default_name: str) -> Imported:
    """Import files, given as name and text; `default_name` is used if they name no deployment.

    Raises:
        ImportRefused: a file cannot be read, or none has a Bananas worker.
    """
    sources = [read(name, text) for name, text in files]
    draft = Draft()
    manifests = [
        manifest for source in sources for manifest in _import_compose_files(draft, source)
    ]
    import_manifests(draft, manifests)
    if not draft.pools and draft.scheduler is None:
        names = ", ".join(name for name, _ in files)
        raise ImportRefused(f"{names}: not a Bananas deployment: {_LOOKED_FOR}")
    draft.name = _label(draft.name or default_name)
    if not draft.handlers:
        draft.notices.append(
            "the files name no handlers: set `handlers` to the Python modules that define yours"
        )
    text = write(assemble(draft), [name for name, _ in files], SCHEMA_URL)
    statuses = tuple(status for source in sources for status in source.statuses())
    return Imported(text, statuses, tuple(draft.notices))


def _import_compose_files(draft: Draft, source: Source) -> list[Field]:
    """Import the Compose files of a source; returns its Kubernetes manifests."""
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
    """A valid name of a topology: a DNS label."""
    label = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:63].strip("-")
    return label or "bananas"
