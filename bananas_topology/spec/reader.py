"""The bytes of a topology file to a document, with variables filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bananas_topology.spec.composer import (
    BAD_TAG,
    UNUSABLE_CHARACTER,
    compose,
    resolve_scalar,
)
from bananas_topology.spec.diagnostics import Code, declare
from bananas_topology.spec.document import NOT_TEXT, Document
from bananas_topology.spec.interpolation import BadSyntax, NotSet, interpolate, sole_variable
from bananas_topology.spec.nodes import KeyPath, MapNode, Node, ScalarNode, scalars

TOO_LARGE = declare("BT002", "File larger than 1 MiB")
BAD_VARIABLE = declare("BT012", "`$` not followed by a variable name", "image: worker$")
NOT_SET = declare("BT013", "Variable that is not set and has no default", "image: ${IMAGE}")

#: Larger than any topology, and still read in a moment.
MAX_BYTES = 1024 * 1024

#: Values that may be a variable that is not set here: it will be where the topology runs.
MAY_BE_UNSET: tuple[KeyPath, ...] = (("redis", "url"),)

# What YAML forbids: control characters and lone surrogates, except tabs and line breaks.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")


def read_document(file: str, data: bytes, environ: Mapping[str, str]) -> Document:
    """Read a file's bytes; never raises, whatever they are."""
    if len(data) > MAX_BYTES:
        document = Document(file, "")
        size = f"the file has {len(data)} bytes; expected at most {MAX_BYTES}"
        document.report(TOO_LARGE, (0, 0), size, "check that it is a topology")
        return document
    try:
        # Editors do not count a byte order mark as a column, so neither do we.
        document = Document(file, data.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        return _undecodable(file, data, error)
    if forbidden := _FORBIDDEN.search(document.text):
        at = forbidden.start()
        message = f"the file contains the control character U+{ord(forbidden[0]):04X}"
        document.report(NOT_TEXT, (at, at + 1), message, "a topology is a text file")
        return document
    compose(document)
    if document.root is not None:
        _interpolate(document, document.root, environ)
    return document


def _undecodable(file: str, data: bytes, error: UnicodeDecodeError) -> Document:
    document = Document(file, data[: error.start].decode("utf-8").removeprefix("\ufeff"))
    is_utf_16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    message = f"the file is not valid UTF-8 (byte 0x{data[error.start]:02x})"
    hint = "it looks like UTF-16; save it as UTF-8" if is_utf_16 else "save it as UTF-8"
    at = len(document.text)
    document.report(NOT_TEXT, (at, at), message, hint)
    return document


def _interpolate(document: Document, root: Node, environ: Mapping[str, str]) -> None:
    """Fill in variables; an unquoted value gets the type that it then looks like."""
    for path, scalar in scalars(root):
        if "$" not in scalar.text or scalar.is_broken:
            continue
        name = sole_variable(scalar.text)
        if name and path in MAY_BE_UNSET and not environ.get(name):
            # An empty variable counts as not set, as it does for workers.
            scalar.unset, scalar.text, scalar.value = name, "", ""
            continue
        if problem := _fill_in(document, scalar, environ):
            code, offset, message, hint = problem
            scalar.is_broken = True
            document.report(code, (scalar.start + offset, scalar.end), message, hint)


def _fill_in(
    document: Document, scalar: ScalarNode, environ: Mapping[str, str]
) -> tuple[Code, int, str, str | None] | None:
    """Fill in the variables of one value; returns code, offset, message and hint of an error."""
    try:
        text = interpolate(scalar.text, environ)
    except (BadSyntax, NotSet) as error:
        # An offset in the value is one in the source only where the two are the same.
        is_literal = document.text[scalar.start : scalar.end] == scalar.text
        offset = error.offset if is_literal else 0
        if isinstance(error, NotSet):
            hint = f"set it, or add a default: ${{{error.name}:-…}}"
            return NOT_SET, offset, str(error), hint
        return BAD_VARIABLE, offset, str(error), None
    if UNUSABLE_CHARACTER.search(text):
        return BAD_VARIABLE, 0, "a variable in this value is not valid UTF-8", None
    scalar.is_interpolated = text != scalar.text.replace("$$", "$")
    scalar.text = text
    # An empty variable is an empty string, not null: `url: ${URL:-}` means no URL.
    scalar.is_plain = scalar.is_plain and text != ""
    message = resolve_scalar(scalar)
    return (BAD_TAG, 0, message, None) if message else None


def broken_paths(root: Node) -> set[KeyPath]:
    """The paths of values whose error is reported already."""
    return {path for path, node in _every_scalar(root, ()) if node.is_broken}


def _every_scalar(node: Node, path: KeyPath) -> Iterator[tuple[KeyPath, ScalarNode]]:
    # Bounded by MAX_DEPTH and MAX_VALUES of the composer.
    if isinstance(node, ScalarNode):
        yield path, node
        return
    steps = node.items.items() if isinstance(node, MapNode) else enumerate(node.items)
    for step, inner in steps:
        yield from _every_scalar(inner, (*path, step))
