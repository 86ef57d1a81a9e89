"""Types of plain YAML scalars, by YAML 1.2's core schema."""

from __future__ import annotations

import re

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
#: Integers with more characters than this are read as floats: parsing them takes time that grows
#: with the square of their length.
_MAX_DIGITS = 64


def parse_scalar(text: str) -> bool | int | float | str | None:
    """The value of an unquoted scalar.

    >>> [parse_scalar(text) for text in ("on", "no", "2026-01-01", "1_000", "1:30")]
    ['on', 'no', '2026-01-01', '1_000', '1:30']
    >>> [parse_scalar(text) for text in ("true", "017", "0o17", "0x1f", "1e3", "~", "")]
    [True, 17, 15, 31, 1000.0, None, None]
    """
    # Most values are words: the first character settles it.
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
