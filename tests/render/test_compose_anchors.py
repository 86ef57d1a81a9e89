from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from bananas_topology.render.compose.anchors import with_anchors
from bananas_topology.yaml_writer import to_yaml

KEYS = ("init", "image", "restart", "deploy")
values = st.sampled_from([True, False, 1, "1", ["a"], {"b": 1}, {"b": True}])
environments = st.dictionaries(st.sampled_from(("WORKER_MODE", "A", "B")), st.sampled_from("xy"))
services = st.builds(
    lambda entries, environment: {**entries, "environment": environment},
    st.dictionaries(st.sampled_from(KEYS), values),
    environments,
)
anything = st.one_of(services, st.dictionaries(st.sampled_from(KEYS), values))


@given(
    made=st.lists(services, min_size=1, max_size=4),
    patched=st.lists(anything, min_size=4, max_size=4),
    is_patched=st.lists(st.booleans(), min_size=4, max_size=4),
    workers=st.integers(min_value=1, max_value=4),
)
def test_expanding_gives_exactly_the_input(
    made: list[dict[str, Any]],
    patched: list[dict[str, Any]],
    is_patched: list[bool],
    workers: int,
) -> None:
    before = {f"s{i}": service for i, service in enumerate(made)}
    after = {
        name: patched[i] if is_patched[i] else service
        for i, (name, service) in enumerate(before.items())
    }

    blocks, written = with_anchors(before, after, list(before)[:workers])

    read = yaml.safe_load(to_yaml({**blocks, "services": written}))["services"]
    assert read == after
    assert repr(sorted_deep(read)) == repr(sorted_deep(after)), "1 has become True"


def sorted_deep(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, sorted_deep(each)) for key, each in sorted(value.items())]
    return value


def test_common_entries_are_written_once() -> None:
    service = {"image": "a:1", "init": True, "environment": {"A": "1", "WORKER_MODE": "thin"}}
    names = ("one", "two", "redis")
    made = {name: {**service, "deploy": {"replicas": 1}} for name in names}

    blocks, written = with_anchors(made, made, ("one", "two"))

    text = to_yaml({**blocks, "services": written})
    assert list(blocks) == ["x-container", "x-environment"]
    assert text.count("a:1") == 1
    assert text.count("WORKER_MODE") == 3, (
        "the variables that distinguish pools stay in their services"
    )
