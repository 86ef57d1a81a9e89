"""Import the files of a deployment as the text of a topology, with a report. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bananas_topology.contract.values import PRESETS, Mode
from bananas_topology.errors import ImportRefused
from bananas_topology.importer.assemble import assemble
from bananas_topology.importer.compose.services import import_compose, is_compose
from bananas_topology.importer.draft import Draft, Section, dns_label, has_variable
from bananas_topology.importer.kubernetes.manifests import flatten, import_manifests, is_manifest
from bananas_topology.importer.source import Field, Source, read
from bananas_topology.importer.status import FieldStatus
from bananas_topology.importer.writer import write
from bananas_topology.spec.diagnostics import Severity
from bananas_topology.spec.load import check_bytes
from bananas_topology.spec.reader import NOT_SET

#: Where editors find the schema, after `bananas schema` has written it there.
SCHEMA_URL = "topology.schema.json"

_LOOKED_FOR = (
    "looked for a service or container with WORKER_MODE, WORKER_CONCURRENCY, WORKER_PRIORITIES or "
    "WORKER_HANDLERS in its environment, or with the command python -m bananas_topology.worker or "
    "/app/worker"
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
        ImportRefused: a file cannot be read, none has a Bananas worker, two are alternatives, or
            what they describe is no valid topology.
    """
    sources = [read(name, text) for name, text in files]
    _refuse_alternatives(sources)
    draft = Draft()
    documents = [each for source in sources for each in _documents(source)]
    import_compose(draft, [each for each in documents if is_compose(each)])
    import_manifests(draft, [each for each in documents if is_manifest(each)])
    if not draft.pools and draft.scheduler is None:
        names = ", ".join(name for name, _ in files)
        raise ImportRefused(f"{names}: not a Bananas deployment: {_LOOKED_FOR}")
    draft.name = draft.name if has_variable(draft.name) else dns_label(draft.name or default_name)
    if not draft.handlers:
        draft.notices.append(
            "the files name no handlers: set `handlers` to the Python modules that define yours"
        )
    if not draft.has_server and not draft.redis.get("url"):
        draft.notices.append(
            "the files have no Redis and no REDIS_URL: rendered output has a Redis of its own; set "
            "`redis.url` to use yours"
        )
    if not draft.pools:
        _make_pool_of_scheduler(draft)
    elif draft.scheduler is None and not any(map(_may_schedule, draft.pools.values())):
        draft.scheduler = {}
        draft.notices.append(
            "no worker runs a scheduler, which retries and delayed jobs need: added `scheduler`"
        )
    text = write(assemble(draft), [name for name, _ in files], SCHEMA_URL)
    _validate(text)
    statuses = tuple(status for source in sources for status in source.statuses())
    return Imported(text, statuses, tuple(draft.notices))


def _refuse_alternatives(sources: Sequence[Source]) -> None:
    """Refuse files that describe the same thing twice.

    Raises:
        ImportRefused: a service or an object is in two documents, or there are files of both kinds.
    """
    found: dict[tuple[str, str], str] = {}
    for source in sources:
        for document in source.documents:
            for key in _definitions(document):
                if key in found:
                    kind, name = key
                    raise ImportRefused(
                        f'{found[key]} and {source.name} both define {kind} "{name}": import one '
                        "of them, or the output of `docker compose config` or `kubectl kustomize` "
                        "for both"
                    )
                found[key] = source.name
    if len({kind == "service" for kind, _ in found}) > 1:
        raise ImportRefused(
            "Compose files and Kubernetes manifests describe the same deployment: import one kind"
        )


def _definitions(document: Field) -> list[tuple[str, str]]:
    """The kind and the name of everything that a document defines."""
    if is_compose(document):
        return [("service", name) for name in document.child("services").mapping]
    return [
        (each.text_of("kind"), each.text_of("metadata", "name"))
        for each in flatten([document])
        if is_manifest(each) and each.get("metadata", "name")
    ]


def _make_pool_of_scheduler(draft: Draft) -> None:
    """Make the scheduler a pool, since a topology needs one."""
    section = draft.scheduler or {}
    if "interval" in section:
        section["scheduler_interval"] = section.pop("interval")
    draft.pools[str(Mode.SCHEDULER_ONLY)] = {"mode": str(Mode.SCHEDULER_ONLY), **section}
    draft.scheduler = None


def _may_schedule(pool: Section) -> bool:
    """Whether a pool's workers run a scheduler, by default if a variable decides."""
    mode = pool.get("mode", Mode.DEFAULT)
    preset = PRESETS[Mode(mode)].has_scheduler if mode in tuple(Mode) else None
    wanted = pool.get("scheduler", preset is not False)
    return wanted is not False and not str(wanted).endswith(":-false}")


def _validate(text: str) -> None:
    """Check what is about to be written. Variables may be set where the topology is used.

    Raises:
        ImportRefused: it has errors, all of which are in the message.
    """
    errors = [
        f"  {each.code}: {each.message}" + (f" ({each.hint})" if each.hint else "")
        for each in check_bytes(text.encode(), Path("topology.yaml"), {}).diagnostics
        if each.severity is Severity.ERROR and each.code != NOT_SET.name
    ]
    if errors:
        raise ImportRefused(
            "\n".join(["the files describe a topology that is not valid; fix them first:", *errors])
        )


def _documents(source: Source) -> Iterator[Field]:
    """
    Raises:
        ImportRefused: a document is no Compose file, and no Kubernetes manifest.
    """
    for document in source.documents:
        if not is_manifest(document) and not is_compose(document):
            raise ImportRefused(
                f"{source.name}:{document.line}: neither a Compose file nor a Kubernetes manifest: "
                "looked for `services`, or for `apiVersion` and `kind`"
            )
        yield document
