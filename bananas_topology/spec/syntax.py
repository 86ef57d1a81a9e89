"""The YAML library's complaints in the words of whoever wrote the file. Pure."""

from __future__ import annotations

import re

#: The library's words (either of its two parsers'), ours, and what to do about it.
_TROUBLES: tuple[tuple[str, str, str | None], ...] = (
    (
        "mapping values are not allowed",
        'a ":" is not expected here',
        'quote a text that holds ": ", and mind the indentation of the line above',
    ),
    (
        "found unexpected end of stream",
        "this quoted text does not end",
        "close the quote",
    ),
    ("found unexpected document separator", "this quoted text does not end", "close the quote"),
    (
        "did not find expected ',' or",
        "this list or map is not closed, or a comma is missing before this place",
        'expected "," or the closing bracket',
    ),
    (
        "did not find expected '-' indicator",
        "this line does not continue the list above it",
        "mind its indentation; a list and a map cannot be mixed",
    ),
    (
        "did not find expected key",
        'expected a key with a ":" here',
        "mind the indentation of this line and the one above",
    ),
    (
        "could not find expected ':'",
        'expected a ":" behind this key',
        "write it as key: value",
    ),
    ("found unknown escape character", "no such escape in double quotes", "use single quotes"),
    ("did not find expected hexdecimal", "a \\x or \\u needs hexadecimal digits", None),
    (
        "found a tab character",
        "a tab stands where YAML wants spaces",
        "indent with spaces",
    ),
    (
        "did not find expected comment or line break",
        "something stands behind the | or > of a block text",
        "begin the text in the next line",
    ),
    ("expected chomping or indentation", "| or > is followed by what it does not know", None),
    ("did not find expected <document start>", "the document has ended before this", None),
    ("did not find expected node content", "a value is missing here", None),
    ("found undefined tag handle", "this tag is not known", "leave it out"),
    ("duplicate %YAML directive", "the %YAML line is given twice", "leave one out"),
    ("found incompatible YAML document", "this version of YAML is not known", "write %YAML 1.2"),
    ("did not find expected alphabetic", "an anchor or alias needs a name", "quote the * or &"),
    ("block sequence entries are not allowed", "a list cannot begin here", "begin a new line"),
    ("mapping keys are not allowed", "a key cannot begin here", "begin a new line"),
    ("exceeded maximum", "lists and maps are nested too deep", None),
)

_CANNOT_START = "character that cannot start any token"


def explain(problem: str, text: str, offset: int) -> tuple[str, str | None]:
    """What is wrong and how to mend it, from the library's `problem` and where it was met."""
    met = text[offset : offset + 1]
    if _CANNOT_START in problem or "found character" in problem:
        if met == "\t":
            return "a tab stands where YAML wants spaces", "indent with spaces"
        return f'a value cannot begin with "{met}"', "quote it"
    for theirs, ours, hint in _TROUBLES:
        if theirs in problem:
            return ours, hint
    return f"this is not YAML: {problem}", None


_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
#: Whole numbers with more characters than this are read as floats: nobody counts that far, and
#: reading them takes time that grows with the square of their length.
_MAX_DIGITS = 64


def resolve(text: str) -> bool | int | float | str | None:
    """What an unquoted scalar means, by YAML 1.2's core schema.

    >>> [resolve(text) for text in ("on", "no", "2026-01-01", "1_000", "1:30")]
    ['on', 'no', '2026-01-01', '1_000', '1:30']
    >>> [resolve(text) for text in ("true", "017", "0o17", "0x1f", "1e3", "~", "")]
    [True, 17, 15, 31, 1000.0, None, None]
    """
    # Most values are words: one look at the first character settles it.
    if text[:1].isalpha() and text[0] not in "ntfNTF":
        return text
    if _NULL.fullmatch(text):
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if len(text) <= _MAX_DIGITS and _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    if text.lower() in _SPECIAL and text.lstrip("+-.") in (
        "inf",
        "Inf",
        "INF",
        "nan",
        "NaN",
        "NAN",
    ):
        return float(_SPECIAL[text.lower()])
    return text
