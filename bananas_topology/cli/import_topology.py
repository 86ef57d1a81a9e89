"""`bananas import`: convert existing deployments to a topology."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.cli.topology import STDIN, display_name
from bananas_topology.errors import ImportRefused
from bananas_topology.system.files import write_atomic
from bananas_topology.units import quantity

if TYPE_CHECKING:
    from bananas_topology.importer.importer import Imported

#: Maximum size of an input file, in MiB.
MAX_FILE_MIB = 8


class ReportFormat(StrEnum):
    """What to report about the imported fields."""

    SUMMARY = "summary"
    FULL = "full"
    JSON = "json"


_Files = Annotated[
    list[Path],
    typer.Argument(
        help="Compose files or Kubernetes manifests; - is standard input.",
        metavar="FILE...",
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write to FILE instead of standard output."
    ),
]
_Report = Annotated[
    ReportFormat,
    typer.Option(
        "--report",
        help="What to report: mistakes and dropped fields (summary), every field (full), or a "
        "JSON document on standard output that includes the topology (json).",
    ),
]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]


def import_topology(
    files: _Files,
    output: _Output = None,
    report: _Report = ReportFormat.SUMMARY,
    force: _Force = False,
) -> None:
    """Convert Compose or Kubernetes files to a topology.

    The files must deploy Bananas. Values are kept if a topology can have them; those equal to its
    defaults are omitted. Fields that were dropped, and mistakes that would have lost jobs, are
    reported on standard error. What is not a valid topology is refused, and nothing is written.

    Examples:

        bananas import docker-compose.yml -o topology.yaml

        bananas import k8s.yml hpa.yml --report full > topology.yaml

        bananas import k8s.yml --report json | jq '.fields[] | select(.status == "mistake")'
    """
    from bananas_topology.importer.importer import import_files

    if output is not None and output.exists() and not force:
        raise ImportRefused(f"{output} already exists; choose another name or use --force")
    texts = [(display_name(file), _read(file)) for file in files]
    imported = import_files(texts, files[0].absolute().parent.name)
    if output is not None:
        write_atomic(output, imported.text)
    elif report is not ReportFormat.JSON:
        print(imported.text, end="")
    _print_report(imported, report)
    if output is not None:
        console.notice(f"wrote {output}; check it with `bananas validate {output}`")


def _read(file: Path) -> str:
    try:
        content = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
    except OSError as error:
        raise ImportRefused(f"cannot read {file}: {error.strerror}") from error
    if len(content) > MAX_FILE_MIB * 2**20:
        raise ImportRefused(f"{file} is larger than {MAX_FILE_MIB} MiB; expected manifests")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise ImportRefused(
            f"{file} is not valid UTF-8 (byte 0x{byte:02x}); expected Compose files or manifests"
        ) from error


def _print_report(imported: Imported, report: ReportFormat) -> None:
    if report is ReportFormat.JSON:
        document = {
            "topology": imported.text,
            "fields": [asdict(each) for each in imported.statuses],
            "notices": imported.notices,
        }
        console.print_json(document)
        return
    for each in imported.statuses:
        if report is ReportFormat.FULL or each.status in ("dropped", "mistake"):
            console.notice(str(each))
    for notice in imported.notices:
        console.notice(f"notice: {notice}")
    console.notice(_summary([str(each.status) for each in imported.statuses]))


def _summary(statuses: Sequence[str]) -> str:
    """Count the fields by status.

    >>> _summary(["kept", "mistake", "mistake", "dropped"]), _summary(["mistake"])
    ('4 fields: 1 kept, 1 dropped, 2 mistakes', '1 field: 1 mistake')
    """
    counts = Counter(statuses)
    order = ("kept", "translated", "dropped", "mistake")
    parts = [f"{counts[status]:,} {status}" for status in order if counts[status]]
    if counts["mistake"]:
        parts[-1] = quantity(counts["mistake"], "mistake")
    return f"{quantity(len(statuses), 'field')}: {', '.join(parts)}"
