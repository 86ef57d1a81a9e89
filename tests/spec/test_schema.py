"""The published schema: well-formed, described, and consistent with the contract.

After a change that is meant to change it: ``make goldens``.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bananas_topology.contract.api import API_SETTINGS
from bananas_topology.contract.names import API, SCHEDULER
from bananas_topology.contract.settings import POOL, Setting
from bananas_topology.contract.values import JOB_TYPE_PATTERN, MAX_RETRIES, PRIORITIES
from bananas_topology.contract.worker import WORKER_SETTINGS, WorkerConfig
from bananas_topology.spec.container import Container
from bananas_topology.spec.model import Pool
from bananas_topology.spec.schema import definition, published_text, schema, schema_text

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "schemas" / "topology.schema.json"
#: Columns of a line of the published file.
WIDTH = 100


def _with_settings(published: dict[str, Any]) -> dict[str, Any]:
    """The schema with the settings of workers and the api as the contract describes them."""
    result = copy.deepcopy(published)
    sections = ((POOL, WORKER_SETTINGS), (SCHEDULER, WORKER_SETTINGS), (API, API_SETTINGS))
    for section, settings in sections:
        previous: dict[str, str] = {}
        for setting in settings:
            if not (path := setting.path_in(section)):
                continue
            name = section
            for step in path[:-1]:
                name = result["$defs"][name]["properties"][step]["$ref"].rpartition("/")[2]
            properties = result["$defs"][name]["properties"]
            property = _property(setting, properties.get(path[-1], {}))
            # A new setting follows the one before it in the contract.
            at = list(properties).index(previous[name]) + 1 if name in previous else 0
            items = [item for item in properties.items() if item[0] != path[-1]]
            if path[-1] in properties:
                at = list(properties).index(path[-1])
            items.insert(at, (path[-1], property))
            result["$defs"][name]["properties"] = dict(items)
            previous[name] = path[-1]
    return result


def _property(setting: Setting, published: dict[str, Any]) -> dict[str, Any]:
    description = setting.description
    if "duration" in str(setting.kind.schema) and "`" in setting.kind.expected:
        description += f", {setting.kind.expected}"
    if setting.when_unset:
        description += f". Default: {setting.when_unset}"
    kept = {key: published[key] for key in ("examples",) if key in published}
    property = {**setting.kind.schema, "description": f"{description}.", **kept}
    if not setting.when_unset:
        property["default"] = setting.kind.to_topology(setting.default)
    return property


def _formatted(value: Any, indent: int = 0, key: str = "") -> str:
    """JSON, with everything on one line that fits on one."""
    line = key + json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or indent + len(line) < WIDTH:
        return line
    margin = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [
            _formatted(item, indent + 2, f"{json.dumps(name)}: ") for name, item in value.items()
        ]
        opening, closing = "{", "}"
    else:
        lines = [_formatted(item, indent + 2) for item in value]
        opening, closing = "[", "]"
    body = ",\n".join(f"{margin}{each}" for each in lines)
    return f"{key}{opening}\n{body}\n{' ' * indent}{closing}"


def test_the_published_schema_has_the_settings_of_the_contract() -> None:
    published = json.loads(PUBLISHED.read_text("utf-8"))
    expected = _formatted(_with_settings(published)) + "\n"
    if os.environ.get("UPDATE_GOLDENS"):
        PUBLISHED.write_text(expected, "utf-8")

    assert PUBLISHED.read_text("utf-8") == expected


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


def test_the_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())

    assert json.loads(schema_text()) == schema()


def _published_errors(topology: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(json.loads(published_text()))
    return [error.json_path for error in validator.iter_errors(topology)]


def test_the_published_schema_is_valid_and_accepts_the_topologies_of_the_repository() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(published_text()))

    for path in (ROOT / "topologies").glob("*.yaml"):
        assert _published_errors(yaml.safe_load(path.read_text("utf-8"))) == []


def test_the_published_schema_accepts_a_variable_in_the_place_of_every_scalar() -> None:
    variable = "${V:-1}"
    pool = {
        name: variable
        for name, part in schema()["$defs"]["pool"]["properties"].items()
        if definition(part)["type"] not in ("object", "array")
    }
    topology = {
        "version": variable,
        "name": variable,
        "handlers": [variable],
        "pools": {
            "a": {
                **pool,
                "priorities": [variable],
                "job_types": [variable],
                "env": {"A": {"secret": variable, "key": variable, "optional": variable}},
            }
        },
        "kubernetes": {"namespace": {"name": variable, "create": variable}},
        "schedules": {"s": {"cron": variable, "job": variable, "catch_up": variable}},
        "api": {"port": variable, "ingress": {"host": variable}},
    }

    assert len(pool) > 10
    assert _published_errors(topology) == []


@pytest.mark.parametrize(
    "pool",
    [{"replicas": "2"}, {"mode": "$"}, {"job_timeout": "5 minutes"}, {"scheduler": "yes"}],
)
def test_the_published_schema_rejects_what_is_neither_valid_nor_a_variable(
    pool: dict[str, Any],
) -> None:
    assert _published_errors({"version": 1, "name": "a", "pools": {"a": pool}}) == [
        f"$.pools.a.{next(iter(pool))}"
    ]


def test_names_are_not_interpolated_in_the_published_schema() -> None:
    for section in ("pools", "jobs", "schedules"):
        topology = {"version": 1, "name": "a", "pools": {"a": {}}, section: {"${A B}": {}}}
        assert f"$.{section}" in _published_errors(topology)


def test_every_field_has_a_description() -> None:
    fields = list(_fields(schema()))

    assert len(fields) > 100
    for path, part in fields:
        assert len(part.get("description", "")) > 10, path
        assert part["description"].endswith("."), path


def test_every_default_is_valid() -> None:
    defaults = [(path, part) for path, part in _fields(schema()) if part.get("default") is not None]

    assert len(defaults) > 25
    for path, part in defaults:
        wanted = {**part, "$defs": schema()["$defs"]}
        assert not list(jsonschema.Draft202012Validator(wanted).iter_errors(part["default"])), path


def test_no_map_accepts_unknown_fields() -> None:
    for name, part in schema()["$defs"].items():
        if "properties" in part:
            assert part["additionalProperties"] is False, name


def test_the_schema_and_the_contract_have_the_same_limits_for_jobs_and_redis() -> None:
    job = schema()["$defs"]["job"]["properties"]

    assert job["max_retries"]["maximum"] == MAX_RETRIES
    assert tuple(schema()["$defs"]["priority"]["enum"]) == PRIORITIES
    assert schema()["$defs"]["redis"]["properties"]["key_prefix"]["default"] == (
        WorkerConfig().key_prefix
    )


def test_the_schema_and_the_contract_accept_the_same_strings() -> None:
    modules = schema()["properties"]["handlers"]["items"]["pattern"]
    read = next(each.kind.read for each in WORKER_SETTINGS if each.name == "handlers")

    assert schema()["$defs"]["job_type"]["pattern"] == f"^{JOB_TYPE_PATTERN}$"
    for text in ("a", "a.b", "_a.b1", "a-b", "1a", "a..b", ".a", "é.b"):
        try:
            is_module = read(text) == (text,)
        except ValueError:
            is_module = False
        assert bool(re.search(modules, text)) is is_module, text


def test_keywords_beside_a_reference_override_its_target() -> None:
    lease = definition({"$ref": "#/$defs/duration", "default": "15s"})

    assert (lease["type"], lease["default"]) == (["string", "integer"], "15s")


def test_the_schema_is_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["schemas"] == "bananas_topology/schemas"


def test_the_schema_has_every_field_of_a_pool() -> None:
    settings = {path[0] for each in WORKER_SETTINGS if (path := each.path_in(POOL))}
    own = {each.name.removesuffix("_ms") for each in dataclasses.fields(Pool)}
    of_container = {each.name for each in dataclasses.fields(Container)} - {"references"}
    fields = (own | of_container) - {"name", "worker", "log_format", "container"}

    assert set(schema()["$defs"]["pool"]["properties"]) == settings | fields
