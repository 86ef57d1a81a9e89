"""`${VAR}` in values, as in Compose, but strict: a variable that is not set needs a default.

Pure: the environment is passed in. Works on single values of a parsed file, so that the text of a
variable never becomes YAML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
_BRACE = re.compile(r"[{}]")
#: Defaults nest, as in `${A:-${B:-c}}`; more levels than this are a mistake.
_MAX_DEPTH = 8


class BadSyntax(ValueError):
    """A `$` that is not followed by a variable name, at `offset` in the value."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


class NotSet(LookupError):
    """A variable without default is not set, or empty where it must not be."""

    def __init__(self, name: str, offset: int, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.offset = offset


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """Replace the variables of a text by their values.

    >>> interpolate("${HOST:-localhost}:$PORT costs $$5", {"PORT": "80"})
    'localhost:80 costs $5'
    >>> interpolate("${A:+given}${B+given}${C-default}", {"A": "", "B": ""})
    'givendefault'
    >>> interpolate('${CONFIG:-{"a": 1}}', {"CONFIG": '{"b": 2}'})
    '{"b": 2}'

    Raises:
        BadSyntax: a `$` is not followed by a name, `{` or another `$`.
        NotSet: a variable is not set and has no default.
    """
    return _expand(text, 0, len(text), environ, 0)


def sole_variable(text: str) -> str | None:
    """The name of the variable that is all of a text; None if there is more, or a default.

    >>> sole_variable("${REDIS_URL}"), sole_variable("$REDIS_URL"), sole_variable("${A:-b}")
    ('REDIS_URL', 'REDIS_URL', None)
    """
    match = re.fullmatch(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", text)
    return (match[1] or match[2]) if match else None


def _expand(text: str, start: int, end: int, environ: Mapping[str, str], depth: int) -> str:
    """Expand the part of a text from `start` to `end`."""
    parts: list[str] = []
    position = start
    while (at := text.find("$", position, end)) >= 0:
        parts.append(text[position:at])
        value, position = _variable(text, at, end, environ, depth)
        parts.append(value)
    parts.append(text[position:end])
    return "".join(parts)


def _variable(
    text: str, at: int, end: int, environ: Mapping[str, str], depth: int
) -> tuple[str, int]:
    """Read the variable at a `$`; returns its value and the position after it."""
    if text.startswith("$$", at, end):
        return "$", at + 2
    if name := _NAME.match(text, at + 1, end):
        return _required(name[0], environ, at), name.end()
    if not text.startswith("${", at, end):
        raise BadSyntax(at, '"$" is not followed by a variable name; write "$$" for a literal "$"')
    if depth >= _MAX_DEPTH:
        raise BadSyntax(at, f"defaults are nested more than {_MAX_DEPTH} levels deep")
    name = _NAME.match(text, at + 2, end)
    if name is None:
        raise BadSyntax(at, 'expected a variable name after "${", as in ${HOST}')
    if text.startswith("}", name.end(), end):
        return _required(name[0], environ, at), name.end() + 1
    operator = _OPERATOR.match(text, name.end(), end)
    if operator is None:
        raise BadSyntax(at, f'expected "}}", or one of :- - :? ? :+ + after "${{{name[0]}"')
    closing = _closing_brace(text, operator.end(), end)
    if closing < 0:
        raise BadSyntax(at, f'missing "}}" after "${{{name[0]}"')
    is_set = name[0] in environ and (operator[0][0] != ":" or environ[name[0]] != "")
    kind = operator[0][-1]
    if is_set != (kind == "+"):
        # As in Compose, a word that is not used is not evaluated: its variables may be unset.
        return (environ[name[0]] if is_set else ""), closing + 1
    word = _expand(text, operator.end(), closing, environ, depth + 1)
    if kind == "?":
        message = f"variable {name[0]} is not set: {word}" if word else _absent(name[0])
        raise NotSet(name[0], at, message)
    return word, closing + 1


def _closing_brace(text: str, start: int, end: int) -> int:
    """The position of the brace that closes the one before `start`, or -1.

    Braces are counted, so a word may have some, as in `${CONFIG:-{"a": 1}}`.
    """
    depth = 1
    for brace in _BRACE.finditer(text, start, end):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return -1


def _required(name: str, environ: Mapping[str, str], at: int) -> str:
    if name not in environ:
        raise NotSet(name, at, _absent(name))
    return environ[name]


def _absent(name: str) -> str:
    return f"variable {name} is not set and has no default"
