from __future__ import annotations

from bananas_topology.spec.document import Document
from bananas_topology.spec.model import Topology
from bananas_topology.spec.nodes import Path


def apply_rules(document: Document, topology: Topology, damaged: set[Path]) -> None:
    """Report what the rules find."""
