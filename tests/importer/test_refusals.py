from __future__ import annotations

import contextlib

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bananas_topology.errors import ImportRefused
from bananas_topology.importer.importer import import_files

_WORDS = st.sampled_from(
    [
        "services", "environment", "WORKER_MODE", "thin", "deploy", "replicas", "resources",
        "limits", "cpus", "memory", "2G", "image", "redis:7", "command", "ports", "8080:80", "kind",
        "Deployment", "HorizontalPodAutoscaler", "apiVersion", "spec", "template", "containers",
        "env", "name", "value", "metrics", "behavior", "WORKER_MODE=default", "api", "volumes",
    ]
)  # fmt: skip
_SCALARS = _WORDS | st.integers() | st.booleans() | st.none() | st.text(max_size=8)
_TREES = st.recursive(
    _SCALARS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(_WORDS, below, max_size=5),
    max_leaves=25,
)


def _import(text: str) -> None:
    with contextlib.suppress(ImportRefused):
        import_files([("file.yml", text)], "shop")


@settings(max_examples=150, deadline=None)
@given(_TREES)
def test_any_fields_are_imported_or_rejected(tree: object) -> None:
    services = {"w": {"environment": {"WORKER_MODE": "thin"}, "deploy": tree}, "x": tree}

    _import(yaml.safe_dump({"services": services}))
    _import(yaml.safe_dump({"apiVersion": "v1", "kind": "Deployment", "spec": tree}))
    _import(yaml.safe_dump(tree))


@settings(max_examples=100, deadline=None)
@given(st.text() | st.text(alphabet="[]{}:,-&*!|>'\"# \n\tab0<"))
def test_any_text_is_imported_or_rejected(text: str) -> None:
    _import(text)
