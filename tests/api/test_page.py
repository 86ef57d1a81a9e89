"""The files of the page: what is served, and what they may load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import bananas_topology.api
from tests.api.conftest import assert_problem

PAGE = Path(bananas_topology.api.__file__).with_name("page")
FILES = sorted(path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*.*"))
MODULES = [name for name in FILES if name.endswith(".js")]

_IMPORT = re.compile(r"""(?:\bfrom |\bimport\(|^import )"([^"]*)""", re.MULTILINE)
_LOADED = re.compile(r"""(?:src|href)="([^"]*)""")


def _text(name: str) -> str:
    return (PAGE / name).read_text("utf-8")


def test_the_page_and_all_its_files_need_no_token(private_http: TestClient) -> None:
    index = private_http.get("/")

    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert index.text == _text("index.html")
    for name in FILES:
        response = private_http.get(f"/page/{name}")
        assert response.status_code == 200, name
        assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("suffix", "media_type"),
    [("js", "text/javascript"), ("css", "text/css"), ("svg", "image/svg+xml")],
)
def test_files_have_the_type_that_browsers_require(
    http: TestClient, suffix: str, media_type: str
) -> None:
    for name in FILES:
        if name.endswith(f".{suffix}"):
            response = http.get(f"/page/{name}")
            assert response.headers["content-type"].partition(";")[0] == media_type


def test_a_file_that_a_browser_has_is_not_sent_again(http: TestClient) -> None:
    first = http.get("/page/app.js")
    known = {"If-None-Match": first.headers["etag"]}

    again, other = http.get("/page/app.js", headers=known), http.get("/page/dom.js", headers=known)

    assert "no-cache" in first.headers["cache-control"]
    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code == 200


@pytest.mark.parametrize(
    "path", ["/page/", "/page/none.js", "/page/../guard.py", "/page/%2e%2e/guard.py", "/page/views"]
)
def test_nothing_but_the_files_of_the_page_is_served(http: TestClient, path: str) -> None:
    assert_problem(http.get(path), 404, "no such path")


def test_a_foreign_page_may_link_to_the_page_and_not_load_it(http: TestClient) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}

    assert http.get("/", headers=link).status_code == 200
    assert http.get("/page/app.js", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert http.post("/").status_code == 405


def test_the_page_has_neither_inline_scripts_nor_styles_and_loads_what_it_has() -> None:
    index = _text("index.html")

    assert not re.findall(r"<style|\sstyle=|\son\w+=|javascript:", index)
    assert re.findall(r"<script[^>]*>([^<]+)", index) == []
    for address in _LOADED.findall(index):
        assert address.startswith(("page/", "#")) or address == "docs"
        assert not address.startswith("page/") or address.removeprefix("page/") in FILES


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_modules_of_the_page_that_exist(name: str) -> None:
    for imported in _IMPORT.findall(_text(name)):
        assert imported.startswith("."), f"{name} imports {imported}"
        assert (PAGE / name).parent.joinpath(imported).resolve().is_file(), imported


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith(".svg")])
def test_a_file_names_no_other_host_and_builds_no_markup(name: str) -> None:
    text = _text(name)

    hosts = set(re.findall(r"\w+://[^\s\"'`]+", text))
    assert hosts <= {"http://www.w3.org/2000/svg"}  # the name of a namespace; nothing is loaded
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
    assert "url(" not in text
    assert text.count("\n") <= 400, "too long to be taken in at once"
    assert max(map(len, text.splitlines())) <= 100
