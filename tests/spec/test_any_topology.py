"""Whatever topology the schema accepts: the rules can check it, and a worker can run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bananas_topology.contract.worker import from_env
from bananas_topology.launch import launch_for
from bananas_topology.spec.load import check_bytes
from bananas_topology.spec.schema import definition, schema

#: Strings of the format that a field requires, by a word of its error message.
_TEXTS = {
    "duration": ["0", "1ms", "1.5s", "30s", "5m", "1h30m", "90s"],
    "memory": ["1", "512Mi", "1.5g", "4Gi", "64 MB"],
    "number of cores": ["1", "0.5", "500m", "2"],
    "up to 253": ["a", "pg-app", "a.b-c"],
    "absolute path": ["/a", "/a/b", "/tmp", "/"],
    "variable": ["A", "B_1", "LOG_LEVEL", "DB_PASSWORD"],
    "DNS label": ["a", "b", "high", "redis", "api", "scheduler", "x-1"],
    "job type": ["a", "b", "send_email", "é"],
    "image": ["a", "a/b:1"],
    "module": ["a", "a.b"],
    "address range": ["10.0.0.0/8", "::/0", "1.2.3.4/5"],
    "port": ["80", "8080-8089", "9-1"],
    "pointer": ["", "/a", "/spec/x~1y"],
    "origin": ["https://a.example", "http://[::1]:3000"],
    "host": ["a.example.com", "*.example.com"],
    "name of a namespace": ["*", "a"],
    "Secret": ["a", "a.b-c"],
    "whitespace": ["bananas", "{a}", "{b"],
    "dots": ["a", "b.c", "D_1"],
}


def _texts(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    message = str(part.get("patternErrorMessage", ""))
    known = next((texts for key, texts in _TEXTS.items() if key in message), None)
    if known:
        return st.sampled_from(known)
    if "pattern" in part:
        raise AssertionError(f"no texts for {part}")
    return st.sampled_from(["a", "0 2 * * *", "*/5 * * * 1", "UTC", "Europe/Rome", "redis://h:1"])


def _values(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a part of the schema accepts, most of the time."""
    part = definition(part)
    kinds = part.get("type")
    if "enum" in part:
        return st.sampled_from(part["enum"])
    if kinds == "object":
        return _maps(part)
    if kinds == "array":
        return st.lists(_values(part["items"]), min_size=part.get("minItems", 0), max_size=3)
    if kinds == "boolean":
        return st.booleans()
    if kinds == "integer":
        low, high = part["minimum"], part["maximum"]
        return st.sampled_from([low, high]) | st.integers(low, min(high, low + 5))
    if kinds is None:
        return st.recursive(st.none() | st.integers() | st.floats(), st.lists, max_leaves=3)
    return _texts(part) | _maps(part) if "object" in kinds else _texts(part)


def _maps(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = part.get("properties")
    if properties is None:
        names = (
            _texts(definition(part["propertyNames"])) if "propertyNames" in part else st.just("a")
        )
        values = part.get("additionalProperties")
        inner = _values(values) if isinstance(values, dict) else st.integers()
        return st.dictionaries(names, inner, min_size=part.get("minProperties", 0), max_size=3)
    choices = [each["required"][0] for each in part.get("oneOf", ()) if "required" in each]
    if not choices:
        return _fields(part, properties, ())
    others = {name: each for name, each in properties.items() if name not in choices}
    forms = [_fields(part, {one: properties[one], **others}, (one,)) for one in choices]
    return st.one_of(forms)


def _fields(
    part: dict[str, Any], properties: dict[str, Any], chosen: tuple[str, ...]
) -> st.SearchStrategy[Any]:
    required = {*part.get("required", ()), *chosen}
    strategies = {name: _values(each) for name, each in properties.items()}
    optional = {name: each for name, each in strategies.items() if name not in required}
    return st.fixed_dictionaries({name: strategies[name] for name in required}, optional=optional)


@given(_maps(schema()))
@settings(max_examples=100, deadline=30_000, suppress_health_check=list(HealthCheck))
def test_any_topology_that_the_schema_accepts(value: dict[str, Any]) -> None:
    value["handlers"] = value.get("handlers") or ["a"]
    text = json.dumps(value, ensure_ascii=False)

    result = check_bytes(text.encode(), Path("any.yaml"), {})

    # Shapes are valid by construction; ranges of durations and meanings may not be.
    shapes = {each.code for each in result.diagnostics if each.code < "BT2"}
    assert shapes <= {"BT105", "BT107"}, result.diagnostics
    for pool in result.topology.pools if result.topology else ():
        assert result.topology is not None
        config = from_env({**launch_for(result.topology, pool).env, "WORKER_ID": "w"})
        assert (config.mode, config.concurrency) == (
            pool.worker.mode.value,
            pool.worker.concurrency,
        )
