"""The published JSON Schema: the fields of a topology, with their types and defaults.

The worker's and the api's settings in it come from the contract (`make goldens`).
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any


def schema_text() -> str:
    """The JSON Schema as text: from the installed package, or from the checkout."""
    package = Path(__file__).parents[1]
    name = Path("schemas") / "topology.schema.json"
    for folder in (package, package.parent):
        if (folder / name).is_file():
            return (folder / name).read_text("utf-8")
    raise FileNotFoundError(f"{name} is missing from the installation; install Bananas again")


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """The JSON Schema as a value. Not to be changed."""
    loaded: dict[str, Any] = json.loads(schema_text())
    return loaded


def definition(node: dict[str, Any]) -> dict[str, Any]:
    """A part of the schema with its reference followed; what stands beside the reference wins."""
    if "$ref" not in node:
        return node
    target: dict[str, Any] = schema()["$defs"][node["$ref"].rpartition("/")[2]]
    return {**definition(target), **{key: node[key] for key in node if key != "$ref"}}


def defaults_of(part: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    """The defaults of all fields below a part of the schema, by path."""
    defaults: dict[tuple[str, ...], Any] = {}
    for name, below in definition(part).get("properties", {}).items():
        if "default" in definition(below):
            defaults[name,] = definition(below)["default"]
        for path, default in defaults_of(below).items():
            defaults[name, *path] = default
    return defaults
