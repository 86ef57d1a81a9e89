"""The documentation site builds without a warning, and loads nothing from other hosts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


class _Loads(HTMLParser):
    """What a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") in ("canonical", "prev", "next"):
            return
        for name in ("src", "srcset", *(("href",) if tag == "link" else ())):
            self.urls.append(values.get(name) or "")


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        parser = _Loads()
        parser.feed(page.read_text("utf-8"))

        assert parser.urls
        assert not [url for url in parser.urls if re.match(r"(https?:)?//", url)], page


def test_no_stylesheet_or_image_loads_anything_from_another_host(site: Path) -> None:
    files = [*site.rglob("*.css"), *site.rglob("*.svg")]

    assert files
    for file in files:
        text = file.read_text("utf-8")
        assert not re.search(r"(url\(|@import |href=)[\"']?(https?:)?//", text), file


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_links_to_is_there(path: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)

    assert not [target for target in targets if not (path.parent / target).exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_path_in_the_repository_exists(path: Path) -> None:
    """Paths in backticks; those in the package may leave out its name."""
    roots = (ROOT, ROOT / "bananas_topology")
    folders = {each.name for root in roots for each in root.iterdir() if each.is_dir()}
    named = re.findall(r"`((?:\w[\w.-]*/)+[\w.-]*)`", path.read_text("utf-8"))
    inside = [each for each in named if each.partition("/")[0] in folders]

    assert not [each for each in inside if not any((root / each).exists() for root in roots)]
