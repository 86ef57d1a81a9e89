"""Whether the patches of a topology apply, found by rendering it."""

from __future__ import annotations

from collections.abc import Iterator

from bananas_topology.errors import PatchesFailed, RenderFailed
from bananas_topology.spec.model import Topology


def patch_errors(topology: Topology) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the path in the topology of each patch that does not apply, and why."""
    sections = {"compose": topology.compose.patches, "kubernetes": topology.kubernetes.patches}
    targets = {"compose": "compose", "kubernetes": "k8s"}
    if not any(sections.values()):
        return
    # Imported here: most topologies have no patches, and do not wait for it.
    from bananas_topology.render.target import find_target

    for section, patches in sections.items():
        if not patches:
            continue
        try:
            find_target(targets[section]).render(topology)
        except PatchesFailed as error:
            yield from error.failures
        except RenderFailed as error:
            yield (section, "patches"), str(error)
