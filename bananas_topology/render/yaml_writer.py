"""Values to YAML that people read and no parser misreads.

Keys stay in insertion order. A string is left unquoted only if YAML 1.1, YAML 1.2 and everything
in between agree that it is one; all others are in quotes, or a ``|`` block if they have several
lines. `Shared` and `MERGE` write anchors, aliases and merge keys.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

#: What may stand unquoted: begins with a letter, a slash or as an option does; no ``: ``, no
#: `` #``, no end in ``:``.
_PLAIN = re.compile(r"(?:--?)?[A-Za-z](?:[A-Za-z0-9_./@%+=,-]|:(?=[^\s:])| (?=[A-Za-z0-9/(]))*")
_PATH = re.compile(r"/[A-Za-z0-9_./-]*")
#: Numbers with a unit, which no YAML takes for a number: 250m, 4Gi, 25%, 1h30m.
_AMOUNT = re.compile(r"[0-9]+(?:[KMGT]i|%|(?:ms|[hms])(?:[0-9]+(?:ms|[ms]))*)")
#: Text that is better read in single quotes: it has double ones.
_QUOTING = re.compile(r"(?=.*\")[ !\"#-&(-~]+")
#: Words that some version of YAML takes for a truth value or for nothing, in any case.
_MISREAD = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
#: Text that keeps its lines in a ``|`` block whoever reads it: printable, no tabs, no line that
#: begins or ends with white space, at most one line break at the end.
_BLOCK = re.compile(r"[!-~](?:[ -~]*[!-~])?(?:\n+[!-~](?:[ -~]*[!-~])?)+\n?")


class Shared:
    """A value that is written once, with an anchor, and by its name wherever it comes again."""

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
    return yaml.dump(
        value,
        Dumper=_Writer,
        default_flow_style=False,
        sort_keys=False,
        allow_unicode=True,
        width=2**31,
    )


def is_plain(text: str) -> bool:
    """Whether a string needs no quotes.

    >>> [is_plain(text) for text in ("shop.jobs", "a: b", "no", "1e3", "0x1f", "22:30", "a:b")]
    [True, False, False, False, False, False, True]
    """
    is_safe = any(pattern.fullmatch(text) for pattern in (_PLAIN, _PATH, _AMOUNT))
    return is_safe and text.lower().lstrip("-") not in _MISREAD


class _Writer(yaml.SafeDumper):
    """PyYAML's writer with our quoting, indented lists, and anchors that have names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._names: dict[int, str] = {}

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """An anchor comes from `Shared` alone, never from two places holding the same object."""
        return not isinstance(data, Shared)

    def generate_anchor(self, node: yaml.Node) -> str:
        return self._names[id(node)]

    def represent_shared(self, shared: Shared) -> yaml.Node:
        node = self.represent_data(shared.value)
        self.represented_objects[id(shared)] = node
        self._names[id(node)] = shared.name
        return node


def _represent_text(writer: _Writer, text: str) -> yaml.Node:
    style = None if is_plain(text) else '"'
    if _QUOTING.fullmatch(text):
        style = "'"
    elif _BLOCK.fullmatch(text):
        style = "|"
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_merge(writer: _Writer, _: _MergeKey) -> yaml.Node:
    return writer.represent_scalar("tag:yaml.org,2002:merge", "<<")


_Writer.add_representer(str, _represent_text)
_Writer.add_representer(Shared, _Writer.represent_shared)
_Writer.add_representer(_MergeKey, _represent_merge)
