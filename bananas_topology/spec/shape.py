"""The shape of a topology: errors against the JSON Schema, as readable diagnostics in place.

The only module that knows the library which checks it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema

from bananas_topology.spec.diagnostics import Code, declare
from bananas_topology.spec.document import Document
from bananas_topology.spec.messages import HIDDEN, SYNONYMS, format_value, subject_of
from bananas_topology.spec.nodes import (
    KeyPath,
    MapNode,
    Node,
    ScalarNode,
    find,
    locate_key,
    locate_value,
    plain,
    scalars,
)
from bananas_topology.spec.schema import definition, schema
from bananas_topology.spec.yaml_scalars import parse_scalar

TOO_MANY = declare("BT100", "Too many errors to show")
WRONG_TYPE = declare("BT101", "Wrong type", "concurrency: many")
MISSING_FIELD = declare("BT102", "Missing field", "schedules: {nightly: {job: report}}")
UNKNOWN_FIELD = declare("BT103", "Unknown field", "concurency: 10")
UNKNOWN_CHOICE = declare("BT104", "Not an allowed value", "mode: specialised")
OUT_OF_RANGE = declare("BT105", "Number or duration out of range", "concurrency: 5000")
WRONG_FORMAT = declare("BT106", "Wrong format", "job_timeout: 5 minutes")
EMPTY_OR_REPEATED = declare(
    "BT107", "Empty list or map, or a duplicate entry", "priorities: [high, high]"
)
NOT_EXACTLY_ONE = declare("BT108", "Not exactly one of several fields", "disruption: {}")

#: Nobody reads more errors than this.
MAX_ERRORS = 200
#: Longer names are not compared with known ones: that takes time that grows with the square.
_MAX_GUESSED = 64


@dataclass(frozen=True, slots=True)
class _SchemaError:
    """An error of the library: the keyword, its value, its part of the schema, and the value."""

    keyword: str
    wanted: Any
    part: dict[str, Any]
    value: Any
    path: KeyPath
    is_name: bool


def check_shape(document: Document, broken: set[KeyPath]) -> set[KeyPath]:
    """Report every error of shape; returns the paths of what is unusable because of one.

    Values at `broken` paths are not checked.
    """
    invalid_paths: set[KeyPath] = set()
    if document.root is not None:
        _cast_variables(document.root)
    found = _errors(plain(document.root) if document.root else None)
    errors = list(islice(found, MAX_ERRORS))
    wrong_types = {error.path for error in errors if error.keyword == "type"}
    missing_at: set[KeyPath] = set()
    for error in errors:
        # A value of the wrong type is not reported as out of range, too.
        if error.path in broken or (error.path in wrong_types and error.keyword != "type"):
            continue
        if error.keyword == "required":
            # The library reports one error for each missing field, we report all at once.
            if error.path in missing_at:
                continue
            missing_at.add(error.path)
        invalid_paths |= _report(document, error)
    if next(found, None) is not None:
        message = f"there are more than {MAX_ERRORS} errors; the rest are not shown"
        document.report(TOO_MANY, (0, 0), message, "fix these first")
    return invalid_paths


def _cast_variables(root: Node) -> None:
    """Give values that came from variables the type that their field has, as Compose does.

    So `"${N:-2}"` can be a number, and `${TAG}` a string even if it looks like a number. In a flow
    map a variable has to be quoted.
    """
    if not any(scalar.is_interpolated for _, scalar in scalars(root)):
        return
    for error in _errors(plain(root)):
        node = find(root, error.path)
        if error.keyword != "type" or not isinstance(node, ScalarNode) or not node.is_interpolated:
            continue
        for value in (node.text, parse_scalar(node.text)):
            fits = _is_valid(value, {"type": error.wanted})
            # A number without a unit keeps its type, which is a better reason to refuse it.
            if fits and (value is not node.text or _is_valid(value, error.part)):
                node.value = value


def prune(root: Node | None, invalid_paths: set[KeyPath]) -> None:
    """Remove what is unusable from a document, so that the rest can be checked."""
    for path in invalid_paths:
        # A list with an invalid entry is unusable as a whole.
        end = next((at for at, step in enumerate(path) if isinstance(step, int)), len(path))
        parent = find(root, path[: end - 1]) if end else None
        if isinstance(parent, MapNode):
            parent.remove(str(path[end - 1]))


def _report(document: Document, error: _SchemaError) -> set[KeyPath]:
    if error.is_name:
        path = (*error.path, str(error.value))
        name = format_value(str(error.value))
        message = f'"{name}" is not a valid name for {subject_of(path, short=True)}'
        place = locate_key(document.root, path)
        document.report(WRONG_FORMAT, place, message, _expected(error.part))
        return {path}
    if error.keyword == "additionalProperties":
        return _report_unknown(document, error)
    if error.keyword == "required":
        return _report_missing(document, error)
    code, message, hint = _invalid_value(error)
    document.report(code, locate_value(document.root, error.path), message, hint)
    return {error.path}


def _report_unknown(document: Document, error: _SchemaError) -> set[KeyPath]:
    """Unknown fields, each at its key, with a guess at what was meant."""
    path, known = error.path, list(error.part["properties"])
    open_names = "|".join(error.part.get("patternProperties", ())) or r"(?!)"
    unknown = [key for key in error.value if key not in known and not re.search(open_names, key)]
    invalid_paths: set[KeyPath] = set()
    for name in unknown[:MAX_ERRORS]:
        guess = _guess(name, [key for key in known if key not in error.value] or known)
        if guess:
            hint = f'did you mean "{guess}"?'
        elif path == () and name in schema()["$defs"]["pool"]["properties"]:
            hint = 'it belongs in a pool, or in "defaults" for all pools'
        else:
            hint = f"known fields: {', '.join(known)}"
        place = locate_key(document.root, (*path, name))
        message = f'{subject_of(path)} has no field "{format_value(name)}"'
        document.report(UNKNOWN_FIELD, place, message, hint)
        invalid_paths.add((*path, name))
        # The field that was meant is missing now; that is not an error of its own.
        invalid_paths |= {(*path, guess)} if guess else set()
    return invalid_paths


def _report_missing(document: Document, error: _SchemaError) -> set[KeyPath]:
    path, place = error.path, locate_key(document.root, error.path)
    missing = [name for name in error.wanted if name not in error.value]
    unknown = [name for name in error.value if name not in error.part["properties"]]
    for name in missing:
        # A misspelled field is reported as unknown; reporting it as missing, too, is noise.
        if any(_guess(each, [name]) for each in unknown):
            continue
        hint = definition(error.part["properties"][name]).get("description", "")
        document.report(MISSING_FIELD, place, f'{subject_of(path)} requires "{name}"', hint)
    return {path} if path else {(name,) for name in missing}


def _invalid_value(error: _SchemaError) -> tuple[Code, str, str | None]:
    """Code, message and hint for an invalid value."""
    subject, value = subject_of(error.path), format_value(error.value, error.path)
    invalid = f"{subject} is {value}; {_expected(error.part)}"
    match error.keyword:
        case "type":
            if value == HIDDEN:
                invalid = f"{subject} has the wrong type (value hidden); {_expected(error.part)}"
            return WRONG_TYPE, invalid, _type_hint(error)
        case "enum":
            guess = _guess(str(error.value), [str(choice) for choice in error.wanted])
            return UNKNOWN_CHOICE, invalid, f'did you mean "{guess}"?' if guess else None
        case "minimum" | "maximum" | "exclusiveMinimum":
            if _is_duration(error.part):
                return WRONG_TYPE, invalid, _type_hint(error)
            return OUT_OF_RANGE, invalid, None
        case "pattern" | "maxLength" | "minLength":
            return WRONG_FORMAT, invalid, None
        case "minItems" | "minProperties":
            return EMPTY_OR_REPEATED, f"{subject} is empty; expected at least one entry", None
        case "uniqueItems":
            owner = subject_of(error.path[:-1])
            return EMPTY_OR_REPEATED, f"{owner} has {value} twice", "remove one of them"
        case "oneOf":
            names = [each["required"][0] for each in error.wanted if "required" in each]
            return NOT_EXACTLY_ONE, f"{subject} has {_found_of(names, error.value)}", None
    return WRONG_TYPE, f"{subject} is invalid: {error.keyword}", None


def _found_of(names: list[str], value: dict[str, Any]) -> str:
    """Say which of several fields are there, of which exactly one was expected."""
    given = [f'"{name}"' for name in names if name in value]
    *first, last = (f'"{name}"' for name in names)
    if given:
        return f"both {given[0]} and {given[1]}; expected exactly one"
    if len(first) == 1:
        return f"neither {first[0]} nor {last}; expected exactly one"
    return f"none of {', '.join(first)} and {last}; expected exactly one"


def _expected(part: dict[str, Any]) -> str:
    """What a part of the schema accepts, as a phrase that starts with "expected"."""
    part = definition(part)
    if "patternErrorMessage" in part:
        return str(part["patternErrorMessage"])
    if "enum" in part:
        choices = ", ".join(str(choice) for choice in part["enum"])
        return f"expected {'one of ' if len(part['enum']) > 1 else ''}{choices}"
    kinds = part.get("type", "value")
    if kinds == "integer":
        return f"expected an integer from {part['minimum']} to {part['maximum']}"
    if isinstance(kinds, list):
        kinds = "scalar"
    return f"expected {_KINDS[kinds]}"


_SCALARS = {"integer": int, "boolean": bool}
_KINDS = {
    "object": "a map of fields",
    "array": "a list, such as [a, b]",
    "string": "a string",
    "scalar": "a string, a number, true or false",
    "boolean": "true or false",
    "value": "a value",
}


def _type_hint(error: _SchemaError) -> str | None:
    wanted, value = definition(error.part).get("type"), error.value
    if wanted in ("integer", "boolean") and isinstance(value, str):
        if type(parse_scalar(value)) is _SCALARS[wanted]:
            return "remove the quotes"
        if wanted == "boolean" and value.lower() in ("on", "yes", "y"):
            return "write true"
        if wanted == "boolean" and value.lower() in ("off", "no", "n"):
            return "write false"
    if wanted == "object" and isinstance(value, list) and value and "=" in str(value[0]):
        return "write one NAME: value per line"
    if wanted == "object" and value is None:
        return "write {} for an empty map"
    if wanted == "array" and isinstance(value, str) and value.startswith("["):
        return "write the list itself: quotes, and variables, make it one string"
    if wanted == "array" and isinstance(value, str) and value:
        return f"write [{value}]" if len(value) <= _MAX_GUESSED else None
    if _is_duration(error.part) and type(value) in (int, float):
        return f"add a unit: {value:g}s for seconds"
    if wanted == "string" and isinstance(value, bool | int | float):
        return "quote it" if "patternErrorMessage" not in error.part else None
    return None


def _is_duration(part: dict[str, Any]) -> bool:
    """Whether a part of the schema is a duration, whose only number is 0."""
    return "duration" in str(definition(part).get("patternErrorMessage"))


def _guess(name: str, known: list[str]) -> str | None:
    """The known name that was probably meant."""
    if len(name) > _MAX_GUESSED:
        return None
    folded = name.lower().replace("-", "_")
    for synonym in SYNONYMS.get(folded, ()):
        if synonym in known:
            return synonym
    candidates = {each.lower().replace("-", "_"): each for each in known}
    near = difflib.get_close_matches(folded, candidates, n=1, cutoff=0.7)
    return candidates[near[0]] if near else None


def expectation(section: str, path: Sequence[str], value: Any) -> str | None:
    """What was expected at a path of a section instead of a value; None if it is valid.

    `section` is the name of a definition in the schema.
    """
    part = definition(schema()["$defs"][section])
    for name in path:
        names = part.get("propertyNames")
        if names is not None and not _is_valid(name, definition(names)):
            return _expected(names)
        patterns = part.get("patternProperties", {}).items()
        matching = (each for pattern, each in patterns if re.search(pattern, name))
        below = (
            part.get("properties", {}).get(name)
            or next(matching, None)
            or part.get("additionalProperties")
        )
        if not isinstance(below, dict):
            return f'expected no field "{name}"'
        part = definition(below)
    return None if _is_valid(value, part) else _expected(part)


# The library, with two keywords replaced.


@lru_cache(maxsize=1)
def _validator() -> Any:
    extend: Callable[..., Any] = jsonschema.validators.extend
    keywords = {"pattern": _pattern, "uniqueItems": _unique_items}
    return extend(jsonschema.Draft202012Validator, keywords)(schema())


def _is_valid(value: Any, part: dict[str, Any]) -> bool:
    return bool(_validator().evolve(schema=part).is_valid(value))


def _errors(value: Any) -> Iterator[_SchemaError]:
    for error in _validator().iter_errors(value):
        yield _SchemaError(
            keyword=str(error.validator),
            wanted=error.validator_value,
            part=error.schema,
            value=error.instance,
            path=tuple(error.absolute_path),
            is_name="propertyNames" in error.relative_schema_path,
        )


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    # "$" also matches before a final line break, which none of our patterns intends.
    if isinstance(value, str) and (value.endswith("\n") or not re.search(pattern, value)):
        yield jsonschema.ValidationError("does not match")


def _unique_items(
    _: Any, wanted: bool, value: Any, __: Any
) -> Iterator[jsonschema.ValidationError]:
    # The library compares all pairs, which is slow for long lists, and reports the list only.
    if not wanted or not isinstance(value, list):
        return
    seen: set[Any] = set()
    for at, item in enumerate(value):
        if isinstance(item, str | int | float):
            if item in seen:
                yield jsonschema.ValidationError("is repeated", instance=item, path=(at,))
            seen.add(item)
