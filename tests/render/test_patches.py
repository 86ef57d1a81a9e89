from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bananas_topology.errors import PatchesFailed
from bananas_topology.render.patches import Patchable, apply_patches
from bananas_topology.spec.model import Patch

OBJECTS = [
    Patchable("Deployment", "worker", {"spec": {"env": ["x" * 10_000], "replicas": 1}}),
    *(Patchable("Service", f"s{number}", {}) for number in range(30)),
]


def _patch(*operations: dict[str, Any], kind: str | None = None, name: str | None = None) -> Patch:
    return Patch(kind=kind, name=name, merge=None, operations=operations)


def _failures(*patches: Patch) -> dict[tuple[str | int, ...], str]:
    with pytest.raises(PatchesFailed) as caught:
        apply_patches(OBJECTS, patches, "kubernetes", lambda target: None)
    assert str(caught.value) == "\n".join(message for _, message in caught.value.failures)
    return dict(caught.value.failures)


def test_each_patch_that_does_not_apply_is_reported_with_its_place() -> None:
    failures = _failures(
        _patch({"op": "add", "path": "/spec/a", "value": 1}, kind="Deployment"),
        _patch(kind="Deploymnt"),
        _patch(
            {"op": "add", "path": "/spec/b", "value": 1},
            {"op": "remove", "path": "/spec/c"},
            kind="Deployment",
        ),
    )

    assert list(failures) == [
        ("kubernetes", "patches", 1),
        ("kubernetes", "patches", 2, "json", 1),
    ]


def test_numbers_that_json_cannot_represent_are_reported_with_their_place() -> None:
    infinite = float("inf")
    failures = _failures(
        _patch({"op": "add", "path": "/spec/a", "value": [1, {"b": infinite}]}, kind="Deployment"),
        Patch(None, None, {"spec": {"replicas": float("nan"), "b": 2**64, "c": 1.5}}, ()),
    )

    assert list(failures) == [
        ("kubernetes", "patches", 0, "json", 0, "value", 1, "b"),
        ("kubernetes", "patches", 1, "merge", "spec", "replicas"),
        ("kubernetes", "patches", 1, "merge", "spec", "b"),
    ]
    for message in failures.values():
        assert message.endswith("is a number that JSON cannot represent: quote it")


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        ({"op": "test", "path": "/spec", "value": {}}, "the value is not the expected one"),
        ({"op": "replace", "path": "/spec/a/b", "value": 1}, "member 'a' not found"),
        ({"op": "remove", "path": "/spec/a"}, "can't remove a non-existent object 'a'"),
        ({"op": "add", "path": "/spec/env/9", "value": 1}, "can't insert outside of list"),
        ({"op": "add", "path": "/spec/replicas/9", "value": 1}, "not in an object or a list"),
        ({"op": "add", "path": "/spec/env/0/x", "value": 1}, "not in an object or a list"),
        ({"op": "move", "path": "/a", "from": "/spec/b"}, 'from "/spec/b": not found'),
        ({"op": "copy", "path": "/a", "from": "/spec/env/7"}, 'from "/spec/env/7": not found'),
        ({"op": "replace", "path": "", "value": [1]}, "it leaves a list; expected an object"),
    ],
)
def test_a_message_says_what_failed_without_the_object(
    operation: dict[str, Any], reason: str
) -> None:
    [message] = _failures(_patch(operation, kind="Deployment")).values()

    assert "does not apply to Deployment worker: " in message
    assert message.endswith(reason)
    assert len(message) < 200


def test_a_patch_that_matches_nothing_is_told_what_it_may_have_meant() -> None:
    [misspelt] = _failures(_patch(kind="Deployment", name="wroker")).values()
    [unknown] = _failures(_patch(kind="Service", name="worker-pool")).values()

    assert misspelt.endswith(
        "patches[0] (kind Deployment, name wroker) matches no rendered object; "
        "did you mean Deployment worker?"
    )
    assert unknown.endswith(
        "expected one of " + ", ".join(f"Service s{n}" for n in range(10)) + ", …"
    )


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(("add", "remove", "replace", "test", "move", "copy")),
                "path": st.sampled_from(("", "/", "/spec", "/spec/env/0", "/spec/env/-", "/a/b")),
            },
            optional={
                "value": st.sampled_from((None, 1, "x", [], {}, {"spec": []})),
                "from": st.sampled_from(("", "/spec", "/spec/env/0", "/nothing", "x")),
            },
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_operation_applies_or_fails_with_a_short_message(
    operations: list[dict[str, Any]],
) -> None:
    message = ""
    try:
        apply_patches(OBJECTS, [_patch(*operations)], "kubernetes", lambda target: None)
    except PatchesFailed as error:
        message = str(error)

    assert len(message) < 300
    assert OBJECTS[0].value["spec"]["replicas"] == 1
