from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from bananas_topology.client import Client
from bananas_topology.jobs.bundled_server import BundledServer
from tests.page.browser import Tab, launched, new_context
from tests.page.site import ApiProcess, Site
from tests.worker.support import starting

#: Opens a tab on a site, with options of the session such as `color_scheme="dark"`.
OpenTab = Callable[..., Tab]

#: Starts an api with further environment variables.
MakeSite = Callable[..., Site]


# Not of the session: an event loop runs in this thread until the browser is closed, and tests of
# other packages may want one of their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def server_url(tmp_path: Path) -> Iterator[str]:
    """A server of the test's own: a search of all jobs goes through all that is in the server."""
    with BundledServer(tmp_path / "server", durable=False) as server:
        yield server.start()


@pytest.fixture
def make_site(server_url: str, prefix: str, tmp_path: Path) -> Iterator[MakeSite]:
    with ExitStack() as stack:

        def make(url: str = server_url, **variables: str) -> Site:
            api = ApiProcess(tmp_path, url, prefix, **variables)
            stack.callback(api.close)
            starter = stack.enter_context(starting(url, prefix, tmp_path))
            return Site(api, starter, stack.enter_context(Client(url, key_prefix=prefix)))

        yield make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An api without a token."""
    return make_site()


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[OpenTab]:
    """Tabs that are checked for faults at the end of the test."""
    tabs: list[Tab] = []
    with ExitStack() as stack:

        def open_tab(site: Site, **options: Any) -> Tab:
            context = stack.enter_context(new_context(browser, **options))
            tabs.append(Tab(context.new_page(), site.api.url))
            return tabs[-1]

        yield open_tab
        for tab in tabs:
            tab.assert_clean()


@pytest.fixture
def tab(open_tab: OpenTab, site: Site) -> Tab:
    return open_tab(site)
