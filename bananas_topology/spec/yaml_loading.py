"""The YAML library's loader for a text, and what it leaves undone."""

from __future__ import annotations

import re
from typing import Any

import yaml

# JSON writes a character outside of the basic plane as two escapes, of which YAML's fast parser
# accepts neither.
_ESCAPED_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def loader_for(text: str) -> Any:
    """The library's fast loader, or its slow one for a text with escapes only that one accepts.

    Values that the slow one loads may have surrogate pairs: see `join_surrogates`.
    """
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.SafeLoader if _ESCAPED_PAIR.search(text) else fast


def join_surrogates(text: str) -> str:
    r"""Replace surrogate pairs by the characters they stand for; lone surrogates are left.

    >>> join_surrogates("\ud83c\udf4c") == "\U0001f34c", join_surrogates("\ud83c") == "\ud83c"
    (True, True)
    """
    return _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
