"""The escape hatch: a topology's own changes to rendered objects, applied last.

Merge patches are RFC 7386, operations RFC 6902. A patch that matches nothing or does not apply is
an error: ignoring it would look like success.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jsonpatch

from bananas_topology.errors import RenderFailed
from bananas_topology.spec.model import Patch


@dataclass(frozen=True, slots=True)
class Patchable:
    """An object that patches select by kind and name."""

    kind: str
    name: str
    value: Mapping[str, Any]


def apply_patches(
    objects: Iterable[Patchable], patches: Sequence[Patch], path: str
) -> tuple[Patchable, ...]:
    """Apply the patches in order, each to all objects that it matches; originals are not changed.

    `path` is the path of the patches in the topology (``kubernetes.patches``). A patched object is
    still selected by its rendered kind and name, whatever a patch does to the value.

    Raises:
        RenderFailed: a patch matches no object, or cannot be applied to one.
    """
    patched = list(objects)
    for index, patch in enumerate(patches):
        patch_path = f"{path}[{index}]"
        matching = [target for target in patched if _matches(patch, target)]
        if not matching:
            raise RenderFailed(
                f"{patch_path} ({_criteria(patch)}) matches no rendered object; "
                f"expected one of {', '.join(f'{it.kind} {it.name}' for it in patched)}"
            )
        patched = [
            replace(target, value=_apply(patch, target, patch_path))
            if target in matching
            else target
            for target in patched
        ]
    return tuple(patched)


def merge(target: Any, patch: Any) -> Any:
    """Merge by RFC 7386: null removes, an object is merged, anything else replaces.

    >>> merge({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": None, "e": 3}, "d": [2]})
    {'a': {'c': 2, 'e': 3}, 'd': [2]}
    """
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _apply(patch: Patch, target: Patchable, path: str) -> Mapping[str, Any]:
    value: Any = target.value if patch.merge is None else merge(target.value, patch.merge)
    try:
        # Works on a copy.
        value = jsonpatch.JsonPatch(_plain(patch.operations)).apply(value)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as error:
        raise RenderFailed(
            f"{path} does not apply to {target.kind} {target.name}: {error}"
        ) from error
    if not isinstance(value, dict):
        raise RenderFailed(
            f"{path} replaces {target.kind} {target.name} with {value!r}; expected an object"
        )
    return value


def _matches(patch: Patch, target: Patchable) -> bool:
    return patch.kind in (None, target.kind) and patch.name in (None, target.name)


def _criteria(patch: Patch) -> str:
    criteria = [
        f"kind {patch.kind}" if patch.kind else "",
        f"name {patch.name}" if patch.name else "",
    ]
    return ", ".join(text for text in criteria if text) or "any object"


def _plain(value: Any) -> Any:
    """Lists and dicts instead of the model's tuples and mappings."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
