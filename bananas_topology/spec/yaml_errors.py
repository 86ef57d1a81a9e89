"""Errors of the YAML library, reworded for the author of the file. Pure."""

from __future__ import annotations

#: The library's wording (of either of its two parsers), our message, and a hint.
_ERRORS: tuple[tuple[str, str, str | None], ...] = (
    (
        "mapping values are not allowed",
        'unexpected ":"',
        'quote strings that contain ": ", and check the indentation of the line above',
    ),
    ("found unexpected end of stream", "unclosed quote", "close the quote"),
    ("found unexpected document separator", "unclosed quote", "close the quote"),
    (
        "did not find expected ',' or",
        "unclosed list or map, or a missing comma before this place",
        'expected "," or the closing bracket',
    ),
    (
        "did not find expected '-' indicator",
        "this line does not continue the list above it",
        "check its indentation; a list and a map cannot be mixed",
    ),
    (
        "did not find expected key",
        'expected a key followed by ":"',
        "check the indentation of this line and the one above",
    ),
    ("could not find expected ':'", 'expected ":" after this key', "write it as key: value"),
    ("found unknown escape character", "unknown escape in double quotes", "use single quotes"),
    ("did not find expected hexdecimal", "\\x and \\u require hexadecimal digits", None),
    ("found a tab character", "tabs cannot indent", "indent with spaces"),
    (
        "did not find expected comment or line break",
        "unexpected text after the | or > of a block scalar",
        "start the text on the next line",
    ),
    ("expected chomping or indentation", "unknown indicator after | or >", None),
    ("did not find expected <document start>", "the document has ended before this", None),
    ("did not find expected node content", "missing value", None),
    ("found undefined tag handle", "unknown tag", "remove it"),
    ("duplicate %YAML directive", "duplicate %YAML directive", "remove one of them"),
    ("found incompatible YAML document", "unsupported YAML version", "write %YAML 1.2"),
    ("did not find expected alphabetic", "missing name of an anchor or alias", "quote the * or &"),
    ("block sequence entries are not allowed", "a list cannot start here", "start a new line"),
    ("mapping keys are not allowed", "a key cannot start here", "start a new line"),
    ("exceeded maximum", "lists and maps are nested too deep", None),
)

_CANNOT_START = "character that cannot start any token"


def explain(problem: str, text: str, offset: int) -> tuple[str, str | None]:
    """Message and hint for the library's `problem` at an offset of the text."""
    character = text[offset : offset + 1]
    if _CANNOT_START in problem or "found character" in problem:
        if character == "\t":
            return "tabs cannot indent", "indent with spaces"
        return f'a value cannot start with "{character}"', "quote it"
    if character == "{" and text[:offset].endswith("$"):
        return "unquoted variable within {} or []", 'quote it, as in "${NAME}"'
    for theirs, ours, hint in _ERRORS:
        if theirs in problem:
            return ours, hint
    return f"not valid YAML: {problem}", None
