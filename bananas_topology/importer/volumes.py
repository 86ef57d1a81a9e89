"""Volumes of a section: each has a name and a path of its own."""

from __future__ import annotations

from bananas_topology.importer.draft import Section, dns_label, put_structure
from bananas_topology.importer.source import Field
from bananas_topology.spec.rules.containers import is_taken

#: The size of a temporary directory that had no limit: a topology's needs one.
DEFAULT_SIZE = "1Gi"


def put_volume(
    section: Section, name: str, entry: Section, *sources: Field, note: str = ""
) -> str | None:
    """Set a volume, under another name if the name is taken; returns why it cannot be."""
    path = entry["path"]
    if is_taken(path):
        return "rendered containers have their own files there"
    volumes: Section = section.get("volumes", {})
    label = dns_label(name)
    for other, volume in volumes.items():
        if volume["path"] == path:
            label = other  # the pool is described twice
    if volumes.get(label, entry)["path"] != path:
        numbered = (f"{label[:60]}-{number}" for number in range(2, len(volumes) + 3))
        label = next(each for each in numbered if each not in volumes)
    put_structure(section, ("volumes", label), entry, *sources, note=note)
    return None
