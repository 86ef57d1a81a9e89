"""Fields that need nothing in a topology, because what is rendered has them anyway.

A table has rows of a place, a value and a note. Whatever no importer read and no table knows is
reported as dropped, so a table may only have what is true of every rendering.
"""

from __future__ import annotations

import re
from functools import lru_cache

from bananas_topology.importer.source import Field

#: The place relative to a field, a pattern of its value ("" for any), and a note. In a place, ``*``
#: is any key, ``**`` is anything, ``[]`` is any index.
Row = tuple[str, str, str]


def translate_known(field: Field, table: tuple[Row, ...]) -> None:
    """Mark as translated those leaves below a field that a table has, if not marked yet."""
    for leaf in field.leaves():
        if leaf.status is not None:
            continue
        place = leaf.place.removeprefix(field.place).removeprefix(".")
        for pattern, value, note in table:
            if _regex(pattern).fullmatch(place) and (not value or re.fullmatch(value, leaf.text)):
                leaf.translate(note)
                break


def translate_only(field: Field, note: str, *places: str) -> None:
    """Mark as translated what is at these places below a field; anything else is unknown."""
    translate_known(field, tuple((place, "", note) for place in places))


@lru_cache
def _regex(pattern: str) -> re.Pattern[str]:
    """The regular expression of a place.

    >>> bool(_regex("tolerations[].*").fullmatch("tolerations[2].key"))
    True
    """
    text = re.escape(pattern).replace(r"\[\]", r"\[\d+\]")
    return re.compile(text.replace(r"\*\*", ".*").replace(r"\*", r"[^.\[\]]*"), re.DOTALL)
