"""The generated parts of the documentation are up to date; ``make goldens`` rewrites them."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.docs import picture
from tests.docs.pages import BLOCKS, PAGES, ROOT, with_blocks

PICTURE = ROOT / "docs" / "images" / "terminal.svg"


def _is_updating() -> bool:
    return bool(os.environ.get("UPDATE_GOLDENS"))


@pytest.mark.parametrize(("name", "make"), PAGES.items(), ids=PAGES)
def test_a_generated_page_is_up_to_date(name: str, make: Callable[[], str]) -> None:
    made = make()
    if _is_updating():
        (ROOT / name).write_text(made, "utf-8")

    assert (ROOT / name).read_text("utf-8") == made


@pytest.mark.parametrize("name", BLOCKS)
def test_generated_blocks_are_up_to_date(name: str) -> None:
    made = with_blocks((ROOT / name).read_text("utf-8"), BLOCKS[name])
    if _is_updating():
        (ROOT / name).write_text(made, "utf-8")

    assert (ROOT / name).read_text("utf-8") == made


def test_the_picture_shows_what_the_commands_print() -> None:
    """Compared by its text: how it is drawn changes with rich."""
    made = picture.terminal_svg()
    if _is_updating():
        PICTURE.write_text(made, "utf-8")

    assert picture.shown_text(PICTURE.read_text("utf-8")) == picture.shown_text(made)
    assert "url(http" not in PICTURE.read_text("utf-8")
