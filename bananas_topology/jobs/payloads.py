"""Converts payloads to their handlers' annotations, and validates them.

A type that payloads cannot be converted to is rejected when the worker starts: all jobs would fail.
"""

from __future__ import annotations

import traceback
import typing
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from bananas_topology.errors import HandlerError, InvalidPayload
from bananas_topology.jobs.job import DECODE_ERRORS
from bananas_topology.type_checking_names import OnlyForTypeChecking, define_name

#: What JSON is without conversion: a class that one of these is an instance of accepts it.
_JSON_TYPES = (dict, list, str, int, float, bool, type(None))

#: Annotations without further ones inside.
_PLAIN = (Any, None, *_JSON_TYPES)


class PayloadDecoder:
    """Decodes payloads to a handler's annotation.

    An annotation with a model, type or constraint of pydantic in it is converted by pydantic, any
    other by msgspec: dataclass, TypedDict, NamedTuple, Struct, enum, date, UUID, or any JSON type.

    Raises:
        HandlerError: payloads cannot be converted to the annotation.
    """

    def __init__(self, payload_type: Any) -> None:
        self._decode, self._describe = _defining_names(partial(_converter, payload_type))

    def __call__(self, payload: msgspec.Raw) -> Any:
        """Decode one payload.

        Raises:
            InvalidPayload: it does not match the annotation.
        """
        try:
            return self._decode(payload)
        except (*DECODE_ERRORS, _InvalidModel) as error:
            raise InvalidPayload(f"the payload does not match the handler: {error}") from error

    def schema(self) -> dict[str, Any] | None:
        """The JSON Schema of the payloads; None if any JSON value is one, or no schema says it."""
        try:
            return self._describe() or None
        except Exception:
            # Neither library has a schema for each type that it converts to.
            return None


class _InvalidModel(Exception):
    """A payload does not match a pydantic model."""


#: A function that decodes payloads, and one that returns their schema.
_Converter = tuple[Callable[[msgspec.Raw], Any], Callable[[], dict[str, Any]]]


def _defining_names(make: Callable[[], _Converter]) -> _Converter:
    """Make a converter, defining names of its annotations that are for type checkers only."""
    while True:
        try:
            return make()
        except HandlerError as error:
            undefined = error.__cause__
            if not isinstance(undefined, NameError):
                raise
            try:
                if not define_name(_module_of(undefined), undefined.name):
                    raise
            except OnlyForTypeChecking as reason:
                message = f"{error}: it is for type checkers only: {reason}"
                raise HandlerError(message) from error


def _module_of(undefined: NameError) -> str:
    """The module in which an annotation was evaluated, by either library."""
    undefined = undefined.__cause__ if isinstance(undefined.__cause__, NameError) else undefined
    *_, (frame, _) = traceback.walk_tb(undefined.__traceback__)
    return str(frame.f_globals.get("__name__") or frame.f_locals.get("__name__"))


def _converter(payload_type: Any) -> _Converter:
    describe = partial(msgspec.json.schema, payload_type)
    if payload_type in _PLAIN:
        return msgspec.json.Decoder(payload_type).decode, describe
    if any(map(_is_of_pydantic, _parts(payload_type))):
        return _pydantic_converter(payload_type)
    try:
        decoder = msgspec.json.Decoder(payload_type)
        custom = [each for each in _custom_types(payload_type) if not _accepts_json(each)]
    except Exception as error:
        # Evaluates the annotations of the type's fields, which may raise anything.
        raise HandlerError(f"cannot convert payloads to {_name(payload_type)}: {error}") from error
    if any(map(_is_of_pydantic, custom)):
        return _pydantic_converter(payload_type)
    if custom:
        raise HandlerError(
            f"cannot convert payloads to {_name(custom[0])}: expected a dataclass, TypedDict, "
            "msgspec Struct, pydantic model (version 2) or JSON type"
        )
    return decoder.decode, describe


def _parts(annotation: Any) -> Iterator[Any]:
    """An annotation, and those that it is made of."""
    yield annotation
    for part in typing.get_args(annotation):
        yield from _parts(part)


def _is_of_pydantic(part: Any) -> bool:
    """Whether only pydantic, version 2, knows what a part of an annotation means."""
    names = ("__pydantic_validator__", "__get_pydantic_core_schema__")
    if any(hasattr(part, name) for name in names):
        return True
    # Constraints, such as those of `pydantic.PositiveInt`.
    return type(part).__module__.partition(".")[0] in ("pydantic", "annotated_types")


def _pydantic_converter(payload_type: Any) -> _Converter:
    try:
        import pydantic  # imported by a module that uses it; not a dependency

        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(payload_type)
        if not getattr(adapter, "pydantic_complete", True):
            adapter.rebuild(raise_errors=True)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise HandlerError(f"cannot convert payloads to {_name(payload_type)}: {reason}") from error

    def decode(payload: msgspec.Raw) -> Any:
        try:
            return adapter.validate_json(bytes(payload))
        except pydantic.ValidationError as error:
            raise _InvalidModel(str(error)) from error

    return decode, adapter.json_schema


def _custom_types(payload_type: Any) -> list[type]:
    """The classes anywhere in a type that msgspec knows nothing about."""
    import msgspec.inspect  # imported here: most workers never need it

    seen: set[int] = set()
    found: list[type] = []
    rest: list[Any] = [msgspec.inspect.type_info(payload_type)]
    while rest:
        node = rest.pop()
        if isinstance(node, tuple):
            rest += node
        elif isinstance(node, msgspec.Struct) and id(node) not in seen:
            seen.add(id(node))
            if isinstance(node, msgspec.inspect.CustomType):
                found.append(node.cls)
            rest += [getattr(node, name) for name in node.__struct_fields__]
    return found


def _accepts_json(cls: type) -> bool:
    """Whether JSON values are instances without conversion, as of `object` or an ABC."""
    try:
        return any(issubclass(each, cls) for each in _JSON_TYPES)
    except TypeError:
        return False


def _name(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
