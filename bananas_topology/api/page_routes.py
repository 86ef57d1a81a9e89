"""The page at ``/``: static files of the package, which use this API as any other client does.

They contain nothing about a deployment, so that a browser may load them before it has a token.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

#: What a browser loads of the page: this path, and everything in this folder.
INDEX = "/"
FOLDER = "/page/"

_SOURCE = Path(__file__).with_name("page")

#: Browsers run a module only if its type is right, so it must not depend on the host's registry.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def is_page(path: str) -> bool:
    """Whether a path is that of the page or of a file which it loads."""
    return path == INDEX or path.startswith(FOLDER)


def add_page(app: FastAPI) -> None:
    """Serve the page. Not in the OpenAPI document, which describes requests of programs."""
    app.add_route(INDEX, _get_index, include_in_schema=False)
    app.add_route(f"{FOLDER}{{name:path}}", _get_file, include_in_schema=False)


def _get_index(request: Request) -> Response:
    return _answer("index.html")


def _get_file(request: Request) -> Response:
    return _answer(request.path_params["name"])


def _answer(name: str) -> Response:
    path = _files().get(name)
    if path is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    # With an ETag of caching.py a browser asks again each time the page is opened: all modules are
    # to be of one release.
    return Response(path.read_bytes(), media_type=_TYPES[path.suffix])


@cache
def _files() -> dict[str, Path]:
    """The files of the page by name; no other path is ever opened."""
    return {
        path.relative_to(_SOURCE).as_posix(): path
        for path in _SOURCE.rglob("*")
        if path.suffix in _TYPES
    }
