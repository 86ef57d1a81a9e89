"""What a topology must be beyond its shape: small functions that look at its finished values."""

from __future__ import annotations

from bananas_topology.spec.document import Document
from bananas_topology.spec.model import Topology
from bananas_topology.spec.nodes import KeyPath, locate_key, locate_value
from bananas_topology.spec.rules import (
    containers,
    pools,
    routing,
    schedules,
    settings,
    sizing,
)
from bananas_topology.spec.rules.context import RULES, RuleContext

__all__ = [
    "RULES",
    "apply_rules",
    "containers",
    "pools",
    "routing",
    "schedules",
    "settings",
    "sizing",
]


def apply_rules(document: Document, topology: Topology, invalid_paths: set[KeyPath]) -> None:
    """Report all violations, except those that may follow from an error reported already."""
    context = RuleContext(topology, document.root, frozenset(invalid_paths))
    for rule in RULES:
        for violation in rule.check(context):
            if context.may_be_consequence(violation):
                continue
            locate = locate_key if violation.at_key else locate_value
            place = locate(document.root, violation.path)
            document.report(rule.code, place, violation.message, violation.hint)
