"""`bananas import`: deployments that exist, as one topology."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.errors import ImportRefused
from bananas_topology.system.files import write_atomic

if TYPE_CHECKING:
    from bananas_topology.importer.importer import Imported

#: Bytes of a file that is read at the most: no deployment is that large.
MAX_FILE_BYTES = 8 * 2**20


class Report(StrEnum):
    """How much is said of what became of the fields."""

    SUMMARY = "summary"
    FULL = "full"
    JSON = "json"


_Files = Annotated[
    list[Path], typer.Argument(help="Compose files or Kubernetes manifests.", metavar="FILE...")
]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Where to write it; left out: standard output."
    ),
]
_Report = Annotated[
    Report,
    typer.Option(
        "--report",
        help="What became of the fields: mistakes and what is dropped, all of them, or all as "
        "JSON on standard output, with the topology in it.",
    ),
]
_Force = Annotated[bool, typer.Option("--force", help="Write over a file that exists.")]


def import_topology(
    files: _Files, output: _Output = None, report: _Report = Report.SUMMARY, force: _Force = False
) -> None:
    """Turn existing Bananas Compose or Kubernetes files into a topology.

    Every value is kept; what a topology says by itself is left out of it. What became of each
    field, and which were mistakes that would have lost jobs, is told on standard error.

    Examples:

        bananas import docker-compose.yml -o topology.yaml

        bananas import k8s.yml hpa.yml --report full > topology.yaml

        bananas import k8s.yml --report json | jq '.fields[] | select(.status == "mistake")'
    """
    from bananas_topology.importer.importer import import_files

    if output is not None and output.exists() and not force:
        raise ImportRefused(f"{output} exists; choose another name, or say --force")
    texts = [(str(file), _read(file)) for file in files]
    imported = import_files(texts, files[0].absolute().parent.name)
    if output is not None:
        write_atomic(output, imported.text)
    elif report is not Report.JSON:
        print(imported.text, end="")
    _tell(imported, report)
    if output is not None:
        console.notice(f"written: {output}; check it with `bananas validate {output}`")


def _read(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ImportRefused(f"cannot read {file}: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ImportRefused(f"{file} has more than {MAX_FILE_BYTES} bytes; expected manifests")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImportRefused(f"{file} is no UTF-8 text: {error}") from error


def _tell(imported: Imported, report: Report) -> None:
    if report is Report.JSON:
        document = {
            "topology": imported.text,
            "fields": [asdict(each) for each in imported.statuses],
            "notices": imported.notices,
        }
        console.print_json(document)
        return
    for each in imported.statuses:
        if report is Report.FULL or each.status in ("dropped", "mistake"):
            console.notice(str(each))
    for notice in imported.notices:
        console.notice(f"notice: {notice}")
    console.notice(_summary([str(each.status) for each in imported.statuses]))


def _summary(statuses: Sequence[str]) -> str:
    """How many fields met which status.

    >>> _summary(["kept", "mistake", "mistake", "dropped"]), _summary(["mistake"])
    ('4 fields: 1 kept, 1 dropped, 2 mistakes', '1 field: 1 mistake')
    """
    counts = Counter(statuses)
    order = ("kept", "translated", "dropped", "mistake")
    parts = [f"{counts[status]} {status}" for status in order if counts[status]]
    if counts["mistake"] > 1:
        parts[-1] += "s"
    fields = "1 field" if len(statuses) == 1 else f"{len(statuses):,} fields"
    return f"{fields}: {', '.join(parts)}"
