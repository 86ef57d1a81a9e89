from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bananas_topology.contract.worker import JOB_TYPE_PATTERN, VARIABLES, WorkerConfig
from bananas_topology.spec.model import Pool
from bananas_topology.spec.schema import definition, schema, schema_text
from bananas_topology.units import parse_duration_ms

ROOT = Path(__file__).parents[2]


def _fields(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of every map in the schema."""
    if isinstance(node, dict):
        properties = node.get("properties", {}) if node.get("type") == "object" else {}
        for name, part in properties.items():
            yield f"{path}.{name}", part
        for key, part in node.items():
            yield from _fields(part, f"{path}/{key}")
    elif isinstance(node, list):
        for part in node:
            yield from _fields(part, path)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())

    assert json.loads(schema_text()) == schema()


def test_every_field_has_a_description_for_the_editor() -> None:
    fields = list(_fields(schema()))

    assert len(fields) > 100
    for path, part in fields:
        assert len(part.get("description", "")) > 10, path
        assert part["description"].endswith("."), path


def test_every_default_is_one_that_the_schema_takes() -> None:
    defaults = [(path, part) for path, part in _fields(schema()) if part.get("default") is not None]

    assert len(defaults) > 25
    for path, part in defaults:
        wanted = {**part, "$defs": schema()["$defs"]}
        assert not list(jsonschema.Draft202012Validator(wanted).iter_errors(part["default"])), path


def test_no_map_takes_fields_that_it_does_not_know() -> None:
    for name, part in schema()["$defs"].items():
        if "properties" in part:
            assert part["additionalProperties"] is False, name


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("job_timeout_ms", ("pool", "job_timeout")),
        ("lease_ms", ("pool", "lease")),
        ("scheduler_interval_ms", ("scheduler", "interval")),
        ("result_ttl_success_ms", ("results", "ttl_success")),
        ("max_retries", ("pool", "max_retries")),
        ("log_level", ("logging", "level")),
        ("log_file_path", ("log_file", "path")),
    ],
)
def test_the_schema_and_the_contract_have_the_same_defaults(
    field: str, place: tuple[str, str]
) -> None:
    default = schema()["$defs"][place[0]]["properties"][place[1]]["default"]

    expected = getattr(WorkerConfig(), field)
    assert (parse_duration_ms(default) if field.endswith("_ms") else default) == expected


def test_the_schema_and_the_contract_take_the_same_texts() -> None:
    modules = schema()["properties"]["handlers"]["items"]["pattern"]
    read = next(each.read for each in VARIABLES if each.name == "WORKER_HANDLERS")

    assert schema()["$defs"]["job_type"]["pattern"] == f"^{JOB_TYPE_PATTERN}$"
    for text in ("a", "a.b", "_a.b1", "a-b", "1a", "a..b", ".a", "é.b"):
        try:
            is_module = read(text) == (text,)
        except ValueError:
            is_module = False
        assert bool(re.search(modules, text)) is is_module, text


def test_what_stands_beside_a_reference_wins() -> None:
    lease = definition({"$ref": "#/$defs/duration", "default": "15s"})

    assert (lease["type"], lease["default"]) == ("string", "15s")


def test_the_schema_is_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["schemas"] == "bananas_topology/schemas"


def test_every_field_of_a_pool_can_be_written() -> None:
    written = set(schema()["$defs"]["pool"]["properties"])

    fields = {each.name.removesuffix("_ms") for each in dataclasses.fields(Pool)}
    assert written == (fields - {"name", "enable_scheduler"}) | {"scheduler"}
