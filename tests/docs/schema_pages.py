"""The topology reference, made from the JSON Schema: a table for each kind of map."""

from __future__ import annotations

import json
import re
from typing import Any

Schema = dict[str, Any]

_HEAD = """\
# Topology reference

Every field of a topology file, from the JSON Schema that `bananas schema` prints. For an
introduction see [The topology file](topology.md). Unknown fields are errors, except those that
begin with `x-`, which are ignored and can hold YAML anchors.
"""


def reference(schema: Schema) -> str:
    """The whole page."""
    definitions: Schema = schema["$defs"]
    parts = [_HEAD, "## Top level\n", _table(schema, definitions)]
    for name in _maps_in_order(schema, definitions):
        definition = definitions[name]
        parts += [f"## {name}\n", f"{definition['description']}\n", _table(definition, definitions)]
    parts += ["## Value types\n", _value_types(definitions)]
    return "\n".join(parts)


def _maps_in_order(schema: Schema, definitions: Schema) -> list[str]:
    """Names of the definitions that have fields, in the order in which a reader meets them."""
    found: dict[str, None] = {}
    for name in re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema["properties"])):
        _collect(name, definitions, found)
    return list(found)


def _collect(name: str, definitions: Schema, found: dict[str, None]) -> None:
    if name in found:
        return
    if "properties" in definitions[name]:
        found[name] = None
    for inner in re.findall(r'"#/\$defs/(\w+)"', json.dumps(definitions[name])):
        _collect(inner, definitions, found)


def _table(schema: Schema, definitions: Schema) -> str:
    required = schema.get("required", ())
    lines = ["| Field | Type | Default | Description |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        default = "required" if name in required else _default(field)
        cells = (f"`{name}`", _type(field, definitions), default, _description(field))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _default(field: Schema) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _description(field: Schema) -> str:
    return _escaped(field.get("description", ""))


def _type(field: Schema, definitions: Schema) -> str:
    """What a value looks like, with a link where that is described elsewhere."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        definition = definitions[name]
        if "properties" in definition or _is_value_type(definition):
            return f"[{name}](#{name})"
        return _type(definition, definitions)
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = field.get("type", "any value")
    if kind == "array":
        return f"list of {_type(field['items'], definitions)}"
    if kind == "object":
        return _map_type(field, definitions)
    names = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{names}{_range(field)}"


def _map_type(field: Schema, definitions: Schema) -> str:
    if "properties" in field:
        return "map of " + ", ".join(f"`{name}`" for name in field["properties"])
    values = field.get("additionalProperties")
    return f"map of {_type(values, definitions)}" if isinstance(values, dict) else "map"


def _range(field: Schema) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if low is None or high is None:
        return ""
    return f", {low:,} to {high:,}"


def _is_value_type(definition: Schema) -> bool:
    """Whether a scalar has a form of its own, such as a duration has."""
    return "pattern" in definition and "description" in definition


def _value_types(definitions: Schema) -> str:
    return "\n".join(_value_type(name, each) for name, each in sorted(definitions.items())
                     if _is_value_type(each))  # fmt: skip


def _value_type(name: str, definition: Schema) -> str:
    return f"### {name}\n\n{definition['description']}{_examples(definition)}\n"


def _examples(definition: Schema) -> str:
    examples = [f"`{each}`" for each in definition.get("examples", ())]
    return f" Examples: {', '.join(examples)}." if examples else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
