"""Loading and checking topology files: the only entry point to `spec`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bananas_topology.contract.redis_url import secret_spans
from bananas_topology.spec.build import build
from bananas_topology.spec.defaults import apply_defaults
from bananas_topology.spec.diagnostics import Diagnostic, InvalidTopology, Severity, declare
from bananas_topology.spec.document import Document
from bananas_topology.spec.model import Topology
from bananas_topology.spec.nodes import (
    KeyPath,
    MapNode,
    ScalarNode,
    child,
    locate_value,
    scalars,
)
from bananas_topology.spec.overlays import merge, read_overrides
from bananas_topology.spec.reader import MAX_BYTES, broken_paths, read_document
from bananas_topology.spec.rules import apply_rules
from bananas_topology.spec.schema import schema
from bananas_topology.spec.section import SectionReader
from bananas_topology.spec.shape import check_shape, prune

UNREADABLE = declare("BT001", "Cannot read the file", "bananas validate nowhere.yaml")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """All diagnostics, file by file in order; `topology` is None if one of them is an error.

    `sources` has the text of each file, as far as it could be read. `own_settings` are the fields
    that each pool's section, or `defaults`, sets itself.
    """

    diagnostics: tuple[Diagnostic, ...]
    topology: Topology | None
    sources: Mapping[str, str]
    own_settings: Mapping[str, frozenset[str]] = field(default_factory=dict)


#: Finds patches that do not apply, which takes rendering: their paths, and messages.
PatchCheck = Callable[[Topology], Iterable[tuple[KeyPath, str]]]

PATCH_FAILS = declare(
    "BT237", "Patch that does not apply", example="patches: [{kind: Deploymnt, merge: {}}]"
)


def check(
    path: Path,
    environ: Mapping[str, str],
    patch_check: PatchCheck | None = None,
    *,
    overlays: Sequence[Path] = (),
    overrides: Sequence[str] = (),
) -> CheckResult:
    """Read and check a file; that it cannot be read is a diagnostic, too.

    `overlays` are merged into it, and then `overrides`, which are `PATH=VALUE`.

    Raises:
        ValueError: an override is malformed.
    """
    documents = [read_file(file, environ) for file in (path, *overlays)]
    documents += override_documents(overrides, environ)
    return check_documents(documents, path, patch_check)


def check_bytes(
    data: bytes, path: Path, environ: Mapping[str, str], patch_check: PatchCheck | None = None
) -> CheckResult:
    """Check the content of a file; `path` is only its name."""
    return check_documents([read_document(str(path), data, environ)], path, patch_check)


def read_file(path: Path, environ: Mapping[str, str]) -> Document:
    """Read a file without checking it; that it cannot be read is a diagnostic."""
    try:
        with path.open("rb") as file:
            # One byte more than is allowed shows that it is too large, however large it is.
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        document = Document(str(path), "")
        reason = error.strerror or str(error)
        hint = _hint_for_missing(path) if isinstance(error, FileNotFoundError) else None
        document.report(UNREADABLE, (0, 0), f"cannot read the file: {reason}", hint)
        return document
    return read_document(str(path), data, environ)


def _hint_for_missing(path: Path) -> str:
    """Name the file that was probably meant: YAML files end in .yaml or .yml."""
    other = path.with_suffix({".yaml": ".yml", ".yml": ".yaml"}.get(path.suffix, ".yaml"))
    if other.exists():
        return f"found {other}: rename it, or name it on the command line"
    return "create one with `bananas init`"


def override_documents(overrides: Sequence[str], environ: Mapping[str, str]) -> Sequence[Document]:
    """Read the overrides, if there are any, as the last of the documents to check.

    Raises:
        ValueError: an override is malformed.
    """
    return [read_overrides(overrides, environ)] if overrides else []


def check_documents(
    documents: Sequence[Document], path: Path, patch_check: PatchCheck | None = None
) -> CheckResult:
    """Check a topology: a document, and the overlays that are merged into it, in order."""
    for each in documents:
        _hide_passwords(each)
    document, *overlays = documents
    is_usable = all(each.root is not None for each in documents)
    merge(document, overlays)
    if document.root is None or not is_usable:
        return _result(document, None)
    broken = broken_paths(document.root)
    invalid_paths = broken | check_shape(document, broken)
    prune(document.root, invalid_paths)
    if not isinstance(document.root, MapNode):
        return _result(document, None)
    document.root = apply_defaults(document.root)
    root = SectionReader(document, document.root, schema(), (), invalid_paths)
    topology = build(root, path)
    apply_rules(document, topology, invalid_paths)
    result = _result(document, topology)
    if patch_check is None or result.topology is None:
        return result
    for place, message in patch_check(topology):
        document.report(PATCH_FAILS, locate_value(document.root, place), message)
    return _result(document, topology)


def _hide_passwords(document: Document) -> None:
    """Hide what may be a password in the server's URL, whatever the form and place of the URL."""
    section = child(document.root, "redis")
    url = section if isinstance(section, ScalarNode) else child(section, "url")
    for _, scalar in scalars(url) if url else ():
        text = document.text[scalar.start : scalar.end]
        is_quoted = text[:1] in ('"', "'")
        for start, end in secret_spans(text[1:-1] if is_quoted else text):
            document.hide(scalar.start + is_quoted + start, scalar.start + is_quoted + end)


def load(path: Path, environ: Mapping[str, str]) -> Topology:
    """Read a file that has to be valid.

    Raises:
        InvalidTopology: it has errors; the exception has all diagnostics.
    """
    result = check(path, environ)
    if result.topology is None:
        raise InvalidTopology(result.diagnostics)
    return result.topology


def _result(document: Document, topology: Topology | None) -> CheckResult:
    files = list(document.sources)
    diagnostics = sorted(
        set(document.diagnostics),
        key=lambda each: (files.index(each.file), each.span, each.code, each.message),
    )
    if any(each.severity is Severity.ERROR for each in diagnostics):
        topology = None
    pools = child(document.root, "pools")
    own_settings = {
        name: frozenset(pool.items)
        for name, pool in (pools.items if isinstance(pools, MapNode) else {}).items()
        if isinstance(pool, MapNode)
    }
    return CheckResult(tuple(diagnostics), topology, document.sources, own_settings)
