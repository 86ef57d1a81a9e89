"""The one door to topologies: a file to everything that is wrong with it, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bananas_topology.spec import document as yaml_document
from bananas_topology.spec.build import build
from bananas_topology.spec.defaults import apply_defaults
from bananas_topology.spec.diagnostics import Diagnostic, InvalidTopology, Severity
from bananas_topology.spec.document import MAX_BYTES, Document
from bananas_topology.spec.model import Topology
from bananas_topology.spec.nodes import Mapping as MapNode
from bananas_topology.spec.rules import apply_rules
from bananas_topology.spec.schema import schema
from bananas_topology.spec.section import Section
from bananas_topology.spec.shape import check_shape, prune


@dataclass(frozen=True, slots=True)
class Report:
    """All findings in file order; `topology` is None if one of them is an error.

    `source` is the text of the file, as far as it could be read.
    """

    diagnostics: tuple[Diagnostic, ...]
    topology: Topology | None
    source: str


def check(path: Path, environ: Mapping[str, str]) -> Report:
    """Read and check a file; what is wrong, even that it is not there, is in the report."""
    try:
        with path.open("rb") as file:
            # One byte more than is allowed shows that it is too long, however long it is.
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        document = Document(str(path), "")
        reason = error.strerror or str(error)
        hint = "`bananas init` writes one" if isinstance(error, FileNotFoundError) else None
        document.report("BT001", (0, 0), f"the file cannot be read: {reason}", hint)
        return _report(document, None)
    return check_bytes(data, path, environ)


def check_bytes(data: bytes, path: Path, environ: Mapping[str, str]) -> Report:
    """Check what a file holds; `path` is only what it is called."""
    document = yaml_document.read(str(path), data, environ)
    if document.root is None:
        return _report(document, None)
    broken = yaml_document.broken_paths(document.root)
    invalid_paths = broken | check_shape(document, broken)
    prune(document.root, invalid_paths)
    if not isinstance(document.root, MapNode):
        return _report(document, None)
    document.root = apply_defaults(document.root)
    root = Section(document, document.root, schema(), (), invalid_paths)
    topology = build(root, path, data)
    apply_rules(document, topology, invalid_paths)
    return _report(document, topology)


def load(path: Path, environ: Mapping[str, str]) -> Topology:
    """Read a file that has to be right.

    Raises:
        InvalidTopology: it is not; the exception has all findings.
    """
    report = check(path, environ)
    if report.topology is None:
        raise InvalidTopology(report.diagnostics)
    return report.topology


def _report(document: Document, topology: Topology | None) -> Report:
    findings = sorted(
        set(document.diagnostics), key=lambda each: (each.span, each.code, each.message)
    )
    if any(finding.severity is Severity.ERROR for finding in findings):
        topology = None
    return Report(tuple(findings), topology, document.text)
