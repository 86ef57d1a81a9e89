"""The escape hatch: a topology's own changes to rendered objects, applied last.

Merge patches are RFC 7386, operations RFC 6902. A patch that matches nothing, or does not apply,
is an error that names it: silence would look like success.
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
    """Something that patches find by its kind and its name."""

    kind: str
    name: str
    value: Mapping[str, Any]


def apply_patches(
    objects: Iterable[Patchable], patches: Sequence[Patch], where: str
) -> tuple[Patchable, ...]:
    """Apply each patch, in order, to all objects that it matches; the originals stay as they are.

    `where` is what the topology calls the patches (``kubernetes.patches``). Kind and name stay
    those of the rendering, whatever a patch does to the value.

    Raises:
        RenderFailed: a patch matches no object, or cannot be applied to one.
    """
    patched = list(objects)
    for index, patch in enumerate(patches):
        place = f"{where}[{index}]"
        matching = [each for each in patched if _matches(patch, each)]
        if not matching:
            raise RenderFailed(
                f"{place} ({_sought(patch)}) matches nothing that is rendered; "
                f"there is {', '.join(f'{each.kind} {each.name}' for each in patched)}"
            )
        patched = [
            replace(each, value=_changed(patch, each, place)) if each in matching else each
            for each in patched
        ]
    return tuple(patched)


def merge(target: Any, patch: Any) -> Any:
    """Merge as RFC 7386 has it: null removes, an object merges, anything else replaces.

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


def _changed(patch: Patch, target: Patchable, place: str) -> Mapping[str, Any]:
    value: Any = target.value if patch.merge is None else merge(target.value, patch.merge)
    try:
        # What it is given stays as it is: it works on a copy.
        value = jsonpatch.JsonPatch(_plain(patch.operations)).apply(value)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as error:
        raise RenderFailed(
            f"{place} does not apply to {target.kind} {target.name}: {error}"
        ) from error
    if not isinstance(value, dict):
        raise RenderFailed(f"{place} leaves nothing of {target.kind} {target.name} but {value!r}")
    return value


def _matches(patch: Patch, target: Patchable) -> bool:
    return patch.kind in (None, target.kind) and patch.name in (None, target.name)


def _sought(patch: Patch) -> str:
    sought = [
        f"kind {patch.kind}" if patch.kind else "",
        f"name {patch.name}" if patch.name else "",
    ]
    return ", ".join(text for text in sought if text) or "any object"


def _plain(value: Any) -> Any:
    """Lists and dicts where the model has tuples and mappings."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
