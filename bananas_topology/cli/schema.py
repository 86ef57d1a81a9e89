"""`bananas schema`: the JSON Schema of topology files."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of topology files.

    With the file beside the topology, an editor completes and explains every field once the
    topology's first line is `# yaml-language-server: $schema=topology.schema.json`.

    Examples:

        bananas schema > topology.schema.json
    """
    from bananas_topology.spec.schema import schema_text

    print(schema_text(), end="")
