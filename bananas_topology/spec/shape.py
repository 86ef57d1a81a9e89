"""The shape of a topology: errors against the JSON Schema, as readable diagnostics in place.

The only module that knows the library which checks it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema

from bananas_topology.spec.document import Document
from bananas_topology.spec.messages import ELSEWHERE, SYNONYMS, field_of, shown, subject_of
from bananas_topology.spec.nodes import Mapping, Node, Path, find, key_place, plain, value_place
from bananas_topology.spec.schema import definition, schema
from bananas_topology.spec.syntax import resolve

#: Beyond this many faults of shape, nobody reads on.
MAX_FAULTS = 200
#: Longer words are not compared with what is known: that takes time that grows with the square.
_MAX_GUESSED = 64


@dataclass(frozen=True, slots=True)
class _Fault:
    """One finding of the library: which keyword of which part of the schema, and what was met."""

    keyword: str
    wanted: Any
    part: dict[str, Any]
    met: Any
    path: Path
    is_name: bool


def check_shape(document: Document, broken: set[Path]) -> set[Path]:
    """Report every fault of shape; gives the paths of what cannot be used because of one.

    Of the values at `broken` paths nothing is said.
    """
    invalid_paths: set[Path] = set()
    found = _faults(plain(document.root) if document.root else None)
    faults = list(islice(found, MAX_FAULTS))
    misfits = {fault.path for fault in faults if fault.keyword == "type"}
    met: set[Path] = set()
    for fault in faults:
        # What is of the wrong kind is not also called out of range.
        if fault.path in broken or (fault.path in misfits and fault.keyword != "type"):
            continue
        # The library reports each missing field, we all of them at once.
        if fault.keyword != "required" or fault.path not in met:
            invalid_paths |= _report(document, fault)
        met |= {fault.path} if fault.keyword == "required" else set()
    if next(found, None) is not None:
        message = f"there are more than {MAX_FAULTS} faults; the rest is not shown"
        document.report("BT100", (0, 0), message, "mend these first")
    return invalid_paths


def prune(root: Node | None, invalid_paths: set[Path]) -> None:
    """Take what cannot be used out of a document, so that the rest can be looked at."""
    for path in invalid_paths:
        # A list with a wrong entry is no good as a whole.
        end = next((at for at, step in enumerate(path) if isinstance(step, int)), len(path))
        parent = find(root, path[: end - 1]) if end else None
        if isinstance(parent, Mapping):
            parent.remove(str(path[end - 1]))


def _report(document: Document, fault: _Fault) -> set[Path]:
    if fault.is_name:
        path = (*fault.path, str(fault.met))
        message = f'"{shown(str(fault.met))}" is no name for {subject_of(path, short=True)}'
        place = key_place(document.root, path)
        document.report("BT106", place, message, _expected(fault.part))
        return {path}
    if fault.keyword == "additionalProperties":
        return _report_unknown(document, fault)
    if fault.keyword == "required":
        return _report_missing(document, fault)
    code, message, hint = _wrong_value(fault)
    document.report(code, value_place(document.root, fault.path), message, hint)
    return {fault.path}


def _report_unknown(document: Document, fault: _Fault) -> set[Path]:
    """Fields that are not there, at their own keys, with a guess at what was meant."""
    path, known = fault.path, list(fault.part["properties"])
    open_names = "|".join(fault.part.get("patternProperties", ())) or r"(?!)"
    unknown = [key for key in fault.met if key not in known and not re.search(open_names, key)]
    invalid_paths: set[Path] = set()
    for name in unknown[:MAX_FAULTS]:
        guess = _guess(name, [key for key in known if key not in fault.met] or known)
        if guess:
            hint = f'did you mean "{guess}"?'
        elif name in ELSEWHERE and path == ():
            hint = ELSEWHERE[name]
        else:
            hint = f"it has {', '.join(known)}"
        place = key_place(document.root, (*path, name))
        message = f'{subject_of(path)} has no field "{shown(name)}"'
        document.report("BT103", place, message, hint)
        invalid_paths.add((*path, name))
        # What was meant is missing now; that is no fault of its own.
        invalid_paths |= {(*path, guess)} if guess else set()
    return invalid_paths


def _report_missing(document: Document, fault: _Fault) -> set[Path]:
    path, place = fault.path, key_place(document.root, fault.path)
    missing = [name for name in fault.wanted if name not in fault.met]
    present = [name for name in fault.met if name not in fault.part["properties"]]
    for name in missing:
        # A misspelt field is reported as such; to call it missing too would be noise.
        if any(_guess(each, [name]) for each in present):
            continue
        about = definition(fault.part["properties"][name]).get("description", "")
        document.report("BT102", place, f'{subject_of(path)} needs "{name}"', about)
    return {path} if path else {(name,) for name in missing}


def _wrong_value(fault: _Fault) -> tuple[str, str, str | None]:
    """Code, message and hint for a value that is not what it should be."""
    what, met = field_of(fault.path), shown(fault.met, fault.path)
    found = f"{what} is {met}"
    match fault.keyword:
        case "type":
            return "BT101", f"{found}; {_expected(fault.part)}", _type_hint(fault)
        case "enum":
            choices = [str(choice) for choice in fault.wanted]
            guess = _guess(str(fault.met), choices)
            hint = f'did you mean "{guess}"?' if guess else None
            return "BT104", f"{found}; {_expected(fault.part)}", hint
        case "minimum" | "maximum" | "exclusiveMinimum":
            return "BT105", f"{found}; {_expected(fault.part)}", None
        case "pattern" | "maxLength" | "minLength":
            return "BT106", f"{found}; {_expected(fault.part)}", None
        case "minItems" | "minProperties":
            return "BT107", f"{what} is empty; expected at least one entry", None
        case "uniqueItems":
            return "BT107", f"{what} has {met} twice", "remove one of them"
        case "oneOf":
            names = " or ".join(f'"{each["required"][0]}"' for each in fault.wanted)
            given = sum(each["required"][0] in fault.met for each in fault.wanted)
            return "BT108", f"{what} has {given or 'none'} of {names}; expected exactly one", None
    return "BT101", f"{what}: {fault.keyword}", None


def _expected(part: dict[str, Any]) -> str:
    """What a part of the schema wants, as a phrase that begins with "expected"."""
    part = definition(part)
    if "patternErrorMessage" in part:
        return str(part["patternErrorMessage"])
    if "enum" in part:
        choices = ", ".join(str(choice) for choice in part["enum"])
        return f"expected {'one of ' if len(part['enum']) > 1 else ''}{choices}"
    kinds = part.get("type", "value")
    if kinds == "integer":
        return f"expected a whole number from {part['minimum']} to {part['maximum']}"
    if isinstance(kinds, list):
        kinds = "text"
    return f"expected {_KINDS[kinds]}"


_KINDS = {
    "object": "a map of fields, one a line as key: value",
    "array": "a list, such as [a, b]",
    "string": "text",
    "text": "text, a number, true or false",
    "boolean": "true or false",
    "value": "a value",
}


def _type_hint(fault: _Fault) -> str | None:
    wanted = definition(fault.part).get("type")
    met = fault.met
    if wanted in ("integer", "boolean") and isinstance(met, str) and type(resolve(met)) is not str:
        return "write it without quotes"
    if wanted == "object" and isinstance(met, list) and met and "=" in str(met[0]):
        return "write NAME: value, one a line"
    if wanted == "object" and met is None:
        return "write {} for one that says nothing"
    if wanted == "array" and isinstance(met, str) and met:
        return f"write [{met}]" if len(met) <= _MAX_GUESSED else None
    if wanted == "string" and isinstance(met, bool | int | float):
        is_duration = "duration" in str(definition(fault.part).get("patternErrorMessage"))
        if is_duration and not isinstance(met, bool):
            return f"with a unit: {met:g}s for seconds"
        return "quote it" if "patternErrorMessage" not in fault.part else None
    if wanted == "boolean" and isinstance(met, str) and met.lower() in ("on", "yes", "y"):
        return "write true"
    if wanted == "boolean" and isinstance(met, str) and met.lower() in ("off", "no", "n"):
        return "write false"
    return None


def _guess(word: str, known: list[str]) -> str | None:
    if len(word) > _MAX_GUESSED:
        return None
    for synonym in SYNONYMS.get(word.lower().replace("-", "_"), ()):
        if synonym in known:
            return synonym
    lowered = word.lower().replace("-", "_")
    folded = {each.lower().replace("-", "_"): each for each in known}
    near = difflib.get_close_matches(lowered, folded, n=1, cutoff=0.7)
    return folded[near[0]] if near else None


# The library, with two keywords of our own.


@lru_cache(maxsize=1)
def _validator() -> Any:
    extend: Callable[..., Any] = jsonschema.validators.extend
    keywords = {"pattern": _pattern, "uniqueItems": _unique_items}
    return extend(jsonschema.Draft202012Validator, keywords)(schema())


def _faults(value: Any) -> Iterator[_Fault]:
    for error in _validator().iter_errors(value):
        yield _Fault(
            keyword=str(error.validator),
            wanted=error.validator_value,
            part=error.schema,
            met=error.instance,
            path=tuple(error.absolute_path),
            is_name="propertyNames" in error.relative_schema_path,
        )


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    # "$" also matches before a line end, which none of our patterns means.
    if isinstance(value, str) and (value.endswith("\n") or not re.search(pattern, value)):
        yield jsonschema.ValidationError("does not match")


def _unique_items(
    _: Any, wanted: bool, value: Any, __: Any
) -> Iterator[jsonschema.ValidationError]:
    # The library compares each with each, which is slow for long lists, and names the list alone.
    if not wanted or not isinstance(value, list):
        return
    seen: set[Any] = set()
    for at, item in enumerate(value):
        if isinstance(item, str | int | float):
            if item in seen:
                yield jsonschema.ValidationError("is repeated", instance=item, path=(at,))
            seen.add(item)
