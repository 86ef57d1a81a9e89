from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.page.browser import PHONE
from tests.page.conftest import OpenTab
from tests.page.site import Site


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_the_documentation_of_the_api_is_accessible(
    open_tab: OpenTab, site: Site, color_scheme: str
) -> None:
    tab = open_tab(site, color_scheme=color_scheme)

    tab.page.goto(f"{site.api.url}/docs")

    expect(tab.page.get_by_role("heading", level=1)).to_contain_text("Bananas API")
    tab.assert_accessible(f"/docs in {color_scheme}")


def test_the_documentation_of_the_api_fits_a_phone(open_tab: OpenTab, site: Site) -> None:
    tab = open_tab(site, viewport=PHONE)

    tab.page.goto(f"{site.api.url}/docs")

    expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
    tab.assert_fits("/docs")
