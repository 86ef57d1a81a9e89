"""The one writer of YAML: for people to read, and for every parser to read the same way.

Keys stay in insertion order. A string is left unquoted only if YAML 1.1, YAML 1.2 and everything
in between agree that it is a string; all others are quoted, or become a ``|`` block if they have
several lines. `Shared` and `MERGE` write anchors, aliases and merge keys.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import yaml

#: Safe without quotes: starts with a letter or as an option does; no ``: ``, no `` #``, no final
#: ``:``.
_PLAIN = re.compile(r"(?:--?)?[A-Za-z](?:[A-Za-z0-9_./@%+=,-]|:(?=[^\s:])| (?=[A-Za-z0-9/(]))*")
_PATH = re.compile(r"/[A-Za-z0-9_./-]*")
#: Numbers with a unit, which no YAML version reads as a number: 250m, 4Gi, 25%, 1h30m.
_AMOUNT = re.compile(r"[0-9]+(?:[KMGT]i|%|(?:ms|[hms])(?:[0-9]+(?:ms|[ms]))*)")
#: Text that contains double quotes and is easier to read in single ones.
_SINGLE_QUOTED = re.compile(r"(?=.*\")[ !\"#-&(-~]+")
#: What some YAML version reads as a boolean, null or a number, in any case.
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
#: Text whose lines survive a ``|`` block in every parser: printable, no tabs, no line that starts
#: or ends with white space, at most one final line break.
_BLOCK = re.compile(r"[!-~](?:[ -~]*[!-~])?(?:\n+[!-~](?:[ -~]*[!-~])?)+\n?")

#: PyYAML writes longer keys in another form.
_MAX_KEY = 100

#: PyYAML breaks lines at this width: never.
_NO_WRAP = 2**31


class Shared:
    """A value that is written once, with an anchor, and as an alias wherever it appears again."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value


class _MergeKey:
    """The key ``<<``: its value is a `Shared` mapping, or a list of them."""

    def __repr__(self) -> str:
        return "MERGE"


MERGE = _MergeKey()


def to_yaml(value: Any) -> str:
    """Write one document, without a leading ``---``. The same value gives the same bytes.

    >>> print(to_yaml({"image": "redis:7", "version": "1.10", "debug": "off", "ports": [80]}))
    image: redis:7
    version: "1.10"
    debug: "off"
    ports:
      - 80
    <BLANKLINE>
    >>> base = Shared("base", {"init": True})
    >>> print(to_yaml({"x-base": base, "a": {MERGE: base, "read_only": True}}))
    x-base: &base
      init: true
    a:
      <<: *base
      read_only: true
    <BLANKLINE>

    Raises:
        yaml.YAMLError: the value holds something other than dict, list, tuple, str, int, float,
            bool, None, `Shared` and `MERGE`.
    """
    if value and isinstance(value, (dict, list)):
        with suppress(_Unusual):
            return "\n".join(_block(value, "")) + "\n"
    return _dump(value, is_flow=False)


def to_flow_yaml(value: Any) -> str:
    """Write a value on one line, without a line break at the end.

    >>> to_flow_yaml({"mode": "thin", "secrets": ["A", "no"]}), to_flow_yaml("a\\nb")
    ('{mode: thin, secrets: [A, "no"]}', '"a\\\\nb"')

    Raises:
        yaml.YAMLError: as for `to_yaml`.
    """
    # PyYAML marks the end of a document that is a single plain scalar.
    return _dump(value, is_flow=True).removesuffix("\n").removesuffix("\n...")


def with_blank_lines(text: str, before: Collection[str], within: str) -> str:
    """The same YAML with a blank line before some top-level keys, and between entries of one.

    >>> print(with_blank_lines("a: 1\\nb:\\n  c: 2\\n  d: 3\\n", before=("b",), within="b"))
    a: 1
    <BLANKLINE>
    b:
      c: 2
    <BLANKLINE>
      d: 3
    <BLANKLINE>
    """
    lines: list[str] = []
    section = ""
    for line in text.removesuffix("\n").split("\n"):
        if line and line[0] != " ":
            section = line.partition(":")[0]
            is_separated = section in before
        else:
            is_entry = section == within and re.match(r" {2}[^ ]", line) is not None
            is_separated = is_entry and lines[-1] != f"{within}:"
        lines += ["", line] if is_separated else [line]
    return "\n".join(lines) + "\n"


@lru_cache(maxsize=4096)
def is_plain(text: str) -> bool:
    """Whether a string needs no quotes.

    >>> [is_plain(text) for text in ("shop.jobs", "a: b", "no", "1e3", "0x1f", "22:30", "a:b")]
    [True, False, False, False, False, False, True]
    """
    is_safe = any(pattern.fullmatch(text) for pattern in (_PLAIN, _PATH, _AMOUNT))
    return is_safe and text.lower().lstrip("-") not in _RESERVED


class _Unusual(Exception):
    """A document has something that only PyYAML writes: anchors, long or quoted keys."""


def _block(value: dict[Any, Any] | list[Any] | tuple[Any, ...], indent: str) -> Iterator[str]:
    """The lines of a collection that is not empty, as PyYAML writes them but ten times as fast.

    Manifests of large topologies have hundreds of thousands of lines.
    """
    inner = f"{indent}  "
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str or len(key) > _MAX_KEY or not is_plain(key):
                raise _Unusual
            yield from _entry(f"{indent}{key}:", item, inner)
        return
    for item in value:
        if item and isinstance(item, (dict, list, tuple)):
            first, *rest = _block(item, inner)
            yield f"{indent}- {first[len(inner) :]}"
            yield from rest
        else:
            yield from _entry(f"{indent}-", item, inner)


def _entry(lead: str, value: Any, indent: str) -> Iterator[str]:
    if value and isinstance(value, (dict, list, tuple)):
        yield lead
        yield from _block(value, indent)
    elif type(value) is str and "\n" in value and _BLOCK.fullmatch(value):
        yield f"{lead} {'|' if value.endswith(chr(10)) else '|-'}"
        yield from (f"{indent}{line}" if line else "" for line in value.splitlines())
    else:
        yield f"{lead} {_scalar(value)}"


def _scalar(value: Any) -> str:
    if type(value) is str and is_plain(value):
        return value
    if type(value) not in (str, int, float, bool, type(None), dict, list, tuple):
        raise _Unusual
    # Here, collections are empty.
    return _quoted(value) if type(value) is str else to_flow_yaml(value)


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return _dump(text, is_flow=False).removesuffix("\n")


def _dump(value: Any, *, is_flow: bool) -> str:
    return yaml.dump(
        value,
        Dumper=_Writer,
        default_flow_style=is_flow,
        sort_keys=False,
        allow_unicode=True,
        width=_NO_WRAP,
    )


class _Writer(yaml.SafeDumper):
    """PyYAML's writer with our quoting, indented lists, and named anchors."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._names: dict[int, str] = {}

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """Only `Shared` makes an anchor, never the same object in two places."""
        return not isinstance(data, Shared)

    def generate_anchor(self, node: yaml.Node) -> str:
        return self._names[id(node)]

    def represent_shared(self, shared: Shared) -> yaml.Node:
        node = self.represent_data(shared.value)
        self.represented_objects[id(shared)] = node
        self._names[id(node)] = shared.name
        return node


def _represent_text(writer: _Writer, text: str) -> yaml.Node:
    # In flow style, plain text ends at a comma.
    is_flow = writer.default_flow_style
    style = None if is_plain(text) and not (is_flow and "," in text) else '"'
    if _SINGLE_QUOTED.fullmatch(text):
        style = "'"
    elif not is_flow and _BLOCK.fullmatch(text):
        style = "|"
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_merge(writer: _Writer, _: _MergeKey) -> yaml.Node:
    return writer.represent_scalar("tag:yaml.org,2002:merge", "<<")


_Writer.add_representer(str, _represent_text)
_Writer.add_representer(Shared, _Writer.represent_shared)
_Writer.add_representer(_MergeKey, _represent_merge)
