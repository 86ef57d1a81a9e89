"""Foreign text on a terminal: characters that would control it are made visible.

Job ids, job types, payloads and errors come from anywhere. Escape sequences could rewrite what is
shown, and bidirectional controls could reorder it.
"""

from __future__ import annotations

import re

# C0 without tab and line feed, DEL, C1, and what changes direction or starts a line.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)


def visible(text: str) -> str:
    """Escape control characters, except tabs and line feeds.

    >>> visible("caf\\xe9 \\x1b[31mred \\u202edoc")
    'caf\\xe9 \\\\x1b[31mred \\\\u202edoc'
    """
    return _CONTROL.sub(_escape, text)


def visible_json(text: str) -> str:
    """Escape control characters in JSON, whose meaning stays the same.

    >>> visible_json('{"id": "\\x9b2J \\u202edoc"}')
    '{"id": "\\\\u009b2J \\\\u202edoc"}'
    """
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def blank(text: str) -> str:
    """Replace each control character, and tabs, by a space: columns stay where they are."""
    return _CONTROL.sub(" ", text.replace("\t", " "))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
