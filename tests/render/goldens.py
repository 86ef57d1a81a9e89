"""Golden files: what each topology in topologies/ renders to, to be reviewed by reading.

``make goldens`` rewrites them after an intended change.
"""

from __future__ import annotations

import os
from pathlib import Path

from bananas_topology.render.target import Rendering

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).with_name("golden")

#: Every topology in the repository.
TOPOLOGIES = sorted((ROOT / "topologies").rglob("*.yaml"))


def topology_id(path: Path) -> str:
    """The name of a topology in test ids and among the goldens.

    >>> topology_id(ROOT / "topologies" / "thin.yaml")
    'thin'
    >>> topology_id(ROOT / "topologies" / "demo" / "topology.yaml")
    'demo'
    """
    return path.parent.name if path.stem == "topology" else path.stem


def assert_golden(rendering: Rendering, topology: Path, target: str) -> None:
    """The rendering equals its golden: the same files, bytes and notices."""
    folder = FOLDER / target / topology_id(topology)
    found = {file.path: file.text for file in rendering.files}
    if rendering.notices:
        found["notices.txt"] = "".join(f"{notice}\n" for notice in rendering.notices)
    if os.environ.get("UPDATE_GOLDENS"):
        _write(folder, found)
    kept = {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == kept


def _write(folder: Path, files: dict[str, str]) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
