"""The escape hatch: a topology's own changes to rendered objects, applied last.

Merge patches are RFC 7386, operations RFC 6902. A patch that matches nothing or does not apply is
an error: ignoring it would look like success.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jsonpatch

from bananas_topology.contract.json_values import paths_of_no_json
from bananas_topology.errors import PatchesFailed
from bananas_topology.spec.model import Patch

_TYPES = {str: "text", int: "a number", float: "a number", bool: "a boolean", list: "a list"}
_TYPES[type(None)] = "nothing"

#: How the library says that a path leads through text or a number.
_NO_CONTAINER = re.compile("does not support indexing|non-container type")

#: Names listed in a message about a patch that matches nothing.
_MAX_NAMES = 10


@dataclass(frozen=True, slots=True)
class Patchable:
    """An object that patches select by kind and name; `patched_by` is the last one's index."""

    kind: str
    name: str
    value: Mapping[str, Any]
    patched_by: int | None = None


def apply_patches(
    objects: Iterable[Patchable],
    patches: Sequence[Patch],
    section: str,
    check: Callable[[Patchable], str | None],
) -> tuple[Patchable, ...]:
    """Apply the patches in order, each to all objects that it matches; originals are not changed.

    `section` is the part of the topology that has the patches. A patched object is still selected
    by its rendered kind and name, whatever a patch does to the value. `check` returns what is wrong
    with an object after all patches.

    Raises:
        PatchesFailed: patches match no object, cannot be applied to one, or leave it invalid.
    """
    patched = list(objects)
    failures: list[tuple[tuple[str | int, ...], str]] = []
    for index, patch in enumerate(patches):
        path: tuple[str | int, ...] = (section, "patches", index)
        failures += _no_json(patch, path)
        matching = [at for at, target in enumerate(patched) if _matches(patch, target)]
        if not matching:
            failures.append((path, f"{_text(path)} {_no_match(patch, patched)}"))
        try:
            for at in matching:
                patched[at] = _apply(patch, patched[at], index)
        except _DoesNotApply as error:
            path = (*path, *error.path)
            failures.append((path, f"{_text(path)} {error}"))
    for target in patched:
        if target.patched_by is not None and (reason := check(target)):
            path = (section, "patches", target.patched_by)
            failures.append((path, f"{_text(path)}: {target.kind} {target.name} {reason}"))
    if failures:
        raise PatchesFailed(failures)
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


def _no_json(
    patch: Patch, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield where a patch has numbers that no reader of the rendered objects can represent."""
    parts = {"merge": _plain(patch.merge), "json": _plain(patch.operations)}
    for at in paths_of_no_json(parts, path):
        yield at, f"{_text(at)} is a number that JSON cannot represent: quote it"


class _DoesNotApply(Exception):
    """A patch does not apply; `path` is the part of it that does not."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path


def _apply(patch: Patch, target: Patchable, index: int) -> Patchable:
    value: Any = target.value if patch.merge is None else merge(target.value, patch.merge)
    value = copy.deepcopy(value) if patch.operations else value
    subject = f"does not apply to {target.kind} {target.name}"
    for at, operation in enumerate(_plain(patch.operations)):
        try:
            value = jsonpatch.JsonPatch([operation]).apply(value, in_place=True)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as error:
            reason = _reason(error, operation)
            text = f'{subject}: {operation["op"]} "{operation["path"]}": {reason}'
            raise _DoesNotApply(text, "json", at) from error
    if not isinstance(value, dict):
        raise _DoesNotApply(f"{subject}: it leaves {_TYPES[type(value)]}; expected an object")
    return replace(target, value=value, patched_by=index)


def _reason(error: Exception, operation: Mapping[str, Any]) -> str:
    """The message of a library without the document in it."""
    if isinstance(error, jsonpatch.JsonPatchTestFailed):
        return "the value is not the expected one"
    # What is not there to copy or move is only named, if at all.
    if isinstance(error.__context__, (KeyError, IndexError)) and "from" in operation:
        return f'from "{operation["from"]}": not found'
    if isinstance(error, TypeError) or _NO_CONTAINER.search(str(error)):
        return "not in an object or a list"
    member, found, _ = str(error).partition(" not found in ")
    return f"{member} not found" if found else member


def _matches(patch: Patch, target: Patchable) -> bool:
    return patch.kind in (None, target.kind) and patch.name in (None, target.name)


def _no_match(patch: Patch, objects: Sequence[Patchable]) -> str:
    """Say that a patch matches nothing, and what it may have meant."""
    same_kind = [it for it in objects if it.kind == patch.kind] or objects
    names = [f"{it.kind} {it.name}" for it in same_kind]
    near = difflib.get_close_matches(f"{patch.kind or ''} {patch.name or ''}", names, 1)
    listed = f"{', '.join(names[:_MAX_NAMES])}{', …' if len(names) > _MAX_NAMES else ''}"
    expected = f"did you mean {near[0]}?" if near else f"expected one of {listed}"
    return f"({_criteria(patch)}) matches no rendered object; {expected}"


def _text(path: Iterable[str | int]) -> str:
    """
    >>> _text(("compose", "patches", 0, "json", 1))
    'compose.patches[0].json[1]'
    """
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)[1:]


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
