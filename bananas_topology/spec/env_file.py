r"""Files of environment variables, such as ``.env``, with the syntax of Compose.

Written by hand: the libraries for such files know only a part of Compose's interpolation, and
interpolate text in single quotes, which would change a password that has a ``$``.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import Path

from bananas_topology.errors import InvalidEnvFile
from bananas_topology.spec.interpolation import NotSet, interpolate

#: The file that is read from the directory of the topology.
DEFAULT_NAME = ".env"

_BETWEEN = re.compile(r"(?:\s|#[^\n]*)*")
_BLANKS = re.compile(r"[ \t]*")
_NAME = re.compile(r"(?:export[ \t]+)?([\w.\-\[\]]+)[ \t]*")
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""", re.DOTALL)
_REST_OF_LINE = re.compile(r"[ \t]*(?:#[^\n]*)?(?=\n|\Z)")
_COMMENT = re.compile(r"[ \t]#.*")
_ESCAPE = re.compile(r"\\([abfnrtv\"\\$]|0[0-7]{1,3})")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "$": "$$"}


def variables_of(
    shell: Mapping[str, str], directory: Path, files: Sequence[Path] | None = None
) -> dict[str, str]:
    """Read the variables of files, without those that the shell has, too: these win.

    `files`, of which later ones win, replace the file ``.env`` in the topology's directory.

    Raises:
        InvalidEnvFile: a file cannot be read, or has an error.
    """
    if files is None:
        default = directory / DEFAULT_NAME
        # A virtual environment may have that name.
        files = [default] if default.is_file() else []
    found: dict[str, str] = {}
    for file in files:
        try:
            text = file.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InvalidEnvFile(f"cannot read {file}: {reason}") from error
        found |= parse(text, ChainMap(dict(shell), found), str(file))
    return {name: text for name, text in found.items() if name not in shell}


def parse(text: str, environ: Mapping[str, str], file: str = DEFAULT_NAME) -> dict[str, str]:
    r"""Read the variables of a file; values may refer to `environ` and to variables above.

    >>> parse('HOST=db  # comment\nexport URL="redis://${HOST}:${PORT:-6379}"', {})
    {'HOST': 'db', 'URL': 'redis://db:6379'}
    >>> parse("A='pa$word # 1'\nB=x#y\nC=\"1\\n2\"\nD: yes", {})
    {'A': 'pa$word # 1', 'B': 'x#y', 'C': '1\n2', 'D': 'yes'}

    Raises:
        InvalidEnvFile: the syntax is wrong, or a value needs a variable that is not set.
    """
    text = text.replace("\r\n", "\n")
    found: dict[str, str] = {}
    visible = ChainMap(dict(environ), found)
    position = _after(_BETWEEN, text, 0)
    while position < len(text):
        start = position
        try:
            position = _read_variable(text, position, visible, found)
        except ValueError as error:
            raise InvalidEnvFile(f"{file}:{_line(text, start)}: {error}") from error
        except NotSet as error:
            hint = "; put the value in single quotes if its $ is not to be replaced"
            raise InvalidEnvFile(f"{file}:{_line(text, start)}: {error}{hint}") from error
        position = _after(_BETWEEN, text, position)
    return found


def _read_variable(
    text: str, position: int, visible: Mapping[str, str], found: dict[str, str]
) -> int:
    """Read one variable; returns the position behind its line.

    Raises:
        ValueError: the syntax is wrong, that of a value included.
        NotSet: it needs a variable that is not set.
    """
    name = _NAME.match(text, position)
    if name is None:
        raise ValueError("expected NAME=value")
    position = name.end()
    if position == len(text) or text[position] == "\n":
        # Only a name: the shell's value, if it has one, which wins anyway.
        return position
    if text[position] not in "=:":
        raise ValueError(f"expected = after {name[1]}")
    value, position = _read_value(text, position + 1, visible)
    if "\0" in value:
        raise ValueError(f"the value of {name[1]} contains a NUL character")
    found[name[1]] = value
    return position


def _read_value(text: str, position: int, visible: Mapping[str, str]) -> tuple[str, int]:
    first = _after(_BLANKS, text, position)
    if text[first : first + 1] not in ('"', "'"):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        return interpolate(_COMMENT.sub("", text[position:end]).strip(), visible), end
    quoted = _QUOTED.match(text, first)
    if quoted is None:
        raise ValueError(f"missing closing {text[first]}")
    rest = _REST_OF_LINE.match(text, quoted.end())
    if rest is None:
        raise ValueError(f"expected the end of the line after the closing {text[first]}")
    if quoted[1] is not None:
        return quoted[1].replace("\\'", "'"), rest.end()
    return interpolate(_ESCAPE.sub(_unescape, quoted[2]), visible), rest.end()


def _unescape(match: re.Match[str]) -> str:
    escape = match[1]
    if escape[0] == "0":
        return chr(int(escape, 8))
    return _ESCAPED.get(escape, escape)


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
