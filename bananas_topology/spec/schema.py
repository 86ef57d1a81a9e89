"""The JSON Schema: the fields of a topology once variables are replaced, with types and defaults.

The worker's and the api's settings in it come from the contract (`make goldens`). What `bananas
schema` publishes also accepts a variable in the place of any value.
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


def published_text() -> str:
    """The schema for files as they are written: typed fields may also be `${VARIABLE}`."""
    published = _with_variables(schema())
    published["$defs"]["variable"] = {
        "type": "string",
        "pattern": r"\$[A-Za-z_{]",
        "description": "Variable from the environment, such as ${VAR} or ${VAR:-default}.",
    }
    return json.dumps(published, indent=2, ensure_ascii=False) + "\n"


_VARIABLE = {"$ref": "#/$defs/variable"}
_CONTAINERS = ("object", "array")
#: Keywords that constrain a scalar.
_CONSTRAINTS = frozenset(
    (
        *("type", "enum", "pattern", "patternErrorMessage", "minLength", "maxLength"),
        *("minimum", "maximum", "exclusiveMinimum"),
    )
)


def _with_variables(node: Any) -> Any:
    """A part of the schema in which every scalar may also be a variable."""
    if isinstance(node, list):
        return [_with_variables(each) for each in node]
    if not isinstance(node, dict):
        return node
    is_scalar = isinstance(node.get("type"), str | list) and node["type"] not in _CONTAINERS
    constraints = {key: each for key, each in node.items() if is_scalar and key in _CONSTRAINTS}
    others = {
        # Keys are not interpolated.
        name: definition(each) if name == "propertyNames" else _with_variables(each)
        for name, each in node.items()
        if name not in constraints
    }
    return {"anyOf": [constraints, _VARIABLE], **others} if is_scalar else others


def defaults_of(part: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    """The defaults of all fields below a part of the schema, by path."""
    defaults: dict[tuple[str, ...], Any] = {}
    for name, below in definition(part).get("properties", {}).items():
        if "default" in definition(below):
            defaults[name,] = definition(below)["default"]
        for path, default in defaults_of(below).items():
            defaults[name, *path] = default
    return defaults
