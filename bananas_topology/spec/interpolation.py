"""`${VAR}` in values, as in Compose, but strict: a variable that is not set needs a default.

Pure: the environment is passed in. Works on single values of a parsed file, so that the text of a
variable never becomes YAML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
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

    Raises:
        BadSyntax: a `$` is not followed by a name, `{` or another `$`.
        NotSet: a variable is not set and has no default.
    """
    value, position = _expand(text, 0, environ, 0)
    assert position == len(text)
    return value


def sole_variable(text: str) -> str | None:
    """The name of the variable that is all of a text; None if there is more, or a default.

    >>> sole_variable("${REDIS_URL}"), sole_variable("$REDIS_URL"), sole_variable("${A:-b}")
    ('REDIS_URL', 'REDIS_URL', None)
    """
    match = re.fullmatch(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", text)
    return (match[1] or match[2]) if match else None


def _expand(text: str, position: int, environ: Mapping[str, str], depth: int) -> tuple[str, int]:
    """Expand up to the end of the text, or up to the closing brace."""
    parts: list[str] = []
    while position < len(text):
        # Inside braces a `}` ends the default; outside it is an ordinary character.
        stops = [
            at for at in (text.find("$", position), _closing(text, position, depth)) if at >= 0
        ]
        if not stops:
            parts.append(text[position:])
            return "".join(parts), len(text)
        at = min(stops)
        parts.append(text[position:at])
        if text[at] == "}":
            return "".join(parts), at
        value, position = _variable(text, at, environ, depth)
        parts.append(value)
    return "".join(parts), position


def _closing(text: str, position: int, depth: int) -> int:
    return text.find("}", position) if depth else -1


def _variable(text: str, at: int, environ: Mapping[str, str], depth: int) -> tuple[str, int]:
    """Read the variable at a `$`; returns its value and the position after it."""
    if text.startswith("$$", at):
        return "$", at + 2
    if name := _NAME.match(text, at + 1):
        return _required(name[0], environ, at), name.end()
    if not text.startswith("${", at):
        raise BadSyntax(at, '"$" is not followed by a variable name; write "$$" for a literal "$"')
    if depth >= _MAX_DEPTH:
        raise BadSyntax(at, f"defaults are nested more than {_MAX_DEPTH} levels deep")
    name = _NAME.match(text, at + 2)
    if name is None:
        raise BadSyntax(at, 'expected a variable name after "${", as in ${HOST}')
    if text.startswith("}", name.end()):
        return _required(name[0], environ, at), name.end() + 1
    operator = _OPERATOR.match(text, name.end())
    if operator is None:
        raise BadSyntax(at, f'expected "}}", or one of :- - :? ? :+ + after "${{{name[0]}"')
    is_set = name[0] in environ and (operator[0][0] != ":" or environ[name[0]] != "")
    return _operated(text, at, name[0], operator, is_set, environ, depth)


def _operated(
    text: str,
    at: int,
    name: str,
    operator: re.Match[str],
    is_set: bool,
    environ: Mapping[str, str],
    depth: int,
) -> tuple[str, int]:
    kind = operator[0][-1]
    uses_word = is_set == (kind == "+")
    # A word that is not used is read too, to find its end, but its variables may be unset.
    known = environ if uses_word else _Anything()
    word, end = _expand(text, operator.end(), known, depth + 1)
    if not text.startswith("}", end):
        raise BadSyntax(at, f'missing "}}" after "${{{name}"')
    if kind == "?" and uses_word:
        raise NotSet(name, at, f"variable {name} is not set: {word}" if word else _absent(name))
    if kind == "+":
        return (word if uses_word else ""), end + 1
    return (word if uses_word else environ[name]), end + 1


def _required(name: str, environ: Mapping[str, str], at: int) -> str:
    if name not in environ:
        raise NotSet(name, at, _absent(name))
    return environ[name]


def _absent(name: str) -> str:
    return f"variable {name} is not set and has no default"


class _Anything(dict[str, str]):
    """An environment in which every variable is set."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return ""
