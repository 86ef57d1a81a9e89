"""`bananas schema`: the JSON Schema for topology files."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema for topology files.

    Save it next to the topology, and editors complete and document every field of a topology
    whose first line is `# yaml-language-server: $schema=topology.schema.json`.

    Examples:

        bananas schema > topology.schema.json
    """
    from bananas_topology.spec.schema import published_text

    print(published_text(), end="")
