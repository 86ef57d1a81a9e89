"""The page ``/docs``: the OpenAPI document as HTML, without scripts or other hosts. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="docs.css">
</head>
<body>
<main>
"""

DOCS_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; overflow-wrap: anywhere; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
section { border-top: 1px solid #8888; padding: .5rem 0; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8888; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1rem .25rem 0; }
"""


def docs_page(document: dict[str, Any]) -> str:
    """Describe every request and schema of an OpenAPI document."""
    info = document["info"]
    title = escape(f"{info['title']} API {info['version']}")
    parts = [_HEAD.format(title=title), f"<h1>{title}</h1>\n"]
    parts.append(
        f"<p>{escape(info.get('summary', ''))} If the server has a token, requests need the header "
        "<code>Authorization: Bearer TOKEN</code>. The machine-readable description is "
        "<code>/openapi.json</code>.</p>\n"
    )
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(method.upper(), path, operation)
    parts.append("<h2>Schemas</h2>\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += _schema(name, schema)
    parts.append("</main>\n</body>\n</html>\n")
    return "".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<section>\n<h2><code>{method} {escape(path)}</code></h2>\n"
    for paragraph in operation.get("description", "").split("\n\n"):
        yield f"<p>{escape(paragraph)}</p>\n"
    if parameters := operation.get("parameters"):
        yield from _table(
            ("Parameter", "In", "Description"),
            [
                (each["name"], each["in"], each.get("description") or _type(each["schema"]))
                for each in parameters
            ],
        )
    if body := operation.get("requestBody"):
        [content] = body["content"].values()
        yield f"<p>Body: {escape(_type(content['schema']))}</p>\n"
    yield from _table(
        ("Status", "Response"),
        [(status, _response(each)) for status, each in operation["responses"].items()],
    )
    yield "</section>\n"


def _response(response: dict[str, Any]) -> str:
    schemas = [_type(each["schema"]) for each in response.get("content", {}).values()]
    return ", ".join(filter(None, (response.get("description"), *schemas)))


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f'<section id="{escape(name)}">\n<h3><code>{escape(name)}</code></h3>\n'
    yield f"<p>{escape(schema.get('description', ''))}</p>\n"
    required = schema.get("required", ())
    yield from _table(
        ("Field", "Type", "Description"),
        [
            (field, _type(each) + ("" if field in required else "?"), each.get("description", ""))
            for field, each in schema.get("properties", {}).items()
        ],
    )
    yield "</section>\n"


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words, such as ``string or null``."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if alternatives := schema.get("oneOf") or schema.get("anyOf"):
        return " or ".join(map(_type, alternatives))
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any JSON value"))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    yield "<table>\n<tr>" + "".join(f"<th>{escape(each)}</th>" for each in head) + "</tr>\n"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(each)}</td>" for each in row) + "</tr>\n"
    yield "</table>\n"
