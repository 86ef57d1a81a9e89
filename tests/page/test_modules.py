"""The modules of the page that compute, in the browser that runs them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser

from bananas_topology.jobs.bundled_server import BundledServer
from tests.page.browser import Tab, new_context
from tests.page.site import ApiProcess

#: Characters that shells, JSON, terminals or browsers treat specially.
_SPECIAL = st.text(
    st.sampled_from("'\"\\$`!*?~#;&|<>(){}[]= \n\t\r\x00\x1b\x7f\x9b\u202e\u2028é🍌a-@,:")
)

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _SPECIAL,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_SPECIAL, inner, max_size=4),
    max_leaves=12,
)

#: Everything in one: what hypothesis finds sooner or later, in each run.
HOSTILE = {
    "script": "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>",
    "ansi": "\x1b[31mred\x1b[0m \x9b1m",
    "bidi": "user\u202e\u2066// admin\u2069\u2066",
    "shell": 'it\'s $HOME `id` \\ "quoted" !! %s',
    "large": 12345678901234567890,
    "exact": 1.0,
    "emoji": "👩‍👩‍👧‍👦🍌",
    "nul": "\x00",
}

some_examples = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def loaded(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A page of which nothing but its modules counts."""
    folder = tmp_path_factory.mktemp("modules")
    with (
        BundledServer(folder / "server", durable=False) as server,
        closing(ApiProcess(folder, server.start(), "modules")) as api,
        new_context(browser) as context,
    ):
        tab = Tab(context.new_page(), api.url)
        tab.open()
        yield tab
        tab.assert_clean()


def _run(tab: Tab, module: str, function: str, *arguments: object) -> Any:
    """Call a function that a module of the page exports."""
    return tab.page.evaluate(
        f"async (arguments) => (await import('/page/{module}.js')).{function}(...arguments)",
        list(arguments),
    )


@some_examples
@given(value=_VALUES, indent=st.sampled_from([None, 3]))
def test_json_that_is_laid_out_is_the_same_json(
    loaded: Tab, value: Any, indent: int | None
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)

    shown = _run(loaded, "json", "pretty", text)

    assert json.loads(shown["text"]) == value
    assert not shown["isCut"]
    assert not any(
        (ord(each) < 32 and each != "\n") or each in "\u202e\x7f" for each in shown["text"]
    )


@some_examples
@given(members=st.dictionaries(_SPECIAL, _VALUES), name=_SPECIAL)
def test_a_member_of_an_object_is_found_as_it_stands(
    loaded: Tab, members: dict[str, Any], name: str
) -> None:
    text = json.dumps({**members, "payload": [members]}, ensure_ascii=False)

    for each in {*members, "payload"}:
        found = _run(loaded, "json", "member", text, each)
        assert json.loads(found) == json.loads(text)[each]
        assert found in text
    if name not in members:
        assert _run(loaded, "json", "member", text, name) is None


def test_numbers_keep_their_digits(loaded: Tab) -> None:
    text = '{"payload":{"id":12345678901234567890,"price":1.10,"e":1e400}}'

    payload = _run(loaded, "json", "member", text, "payload")

    assert payload == '{"id":12345678901234567890,"price":1.10,"e":1e400}'
    assert '"id": 12345678901234567890' in _run(loaded, "json", "pretty", payload)["text"]


@pytest.mark.parametrize(
    "text", ["[" * 5000 + "]" * 5000, json.dumps("🍌" * 10_000), '"' + "🍌" * 999]
)
def test_long_json_is_cut(loaded: Tab, text: str) -> None:
    shown = _run(loaded, "json", "pretty", text, 1001)

    assert shown["isCut"]
    # Characters of two halves are not cut in the middle: these cannot be encoded.
    assert 1000 <= len(shown["text"].encode("utf-16-le")) // 2 <= 1001


@some_examples
@given(payload=_VALUES, name=st.sampled_from(["send_email", "-odd", "it's", "a b", "\u202eab"]))
def test_commands_give_a_job_to_the_program_as_it_is(loaded: Tab, payload: Any, name: str) -> None:
    job = {"name": name, "priority": "low", "max_retries": 2}
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    expected = {**job, "payload": payload}

    made = _run(loaded, "commands", "commandsFor", job, text, "http://localhost:8080/jobs", True)

    assert made["bananas"].isprintable()
    program, *bananas = _words(made["bananas"])
    assert program == "bananas"
    curl = _words(made["curl"])
    assert curl[:3] == ["curl", "-H", "Authorization: Bearer SECRET"]
    assert curl[-1] == "http://localhost:8080/jobs"
    if made["file"] is not None:
        assert name == "\u202eab"
        assert (bananas, curl[-2]) == (["enqueue", "--batch", "job.json"], "@job.json")
        assert json.loads(made["file"]) == expected
        return
    assert json.loads(curl[-2]) == expected
    assert json.loads(bananas[bananas.index("--payload") + 1]) == payload
    assert bananas[0] == "enqueue"
    assert bananas[-1] == name if name == "-odd" else bananas[1] == name


def test_a_job_that_is_too_long_for_a_command_goes_through_a_file(loaded: Tab) -> None:
    job = {"name": "a", "priority": None, "max_retries": None}
    payload = json.dumps("🍌" * 2**20)

    made = _run(loaded, "commands", "commandsFor", job, payload, "http://localhost/jobs", False)

    assert made["bananas"] == "bananas enqueue --batch job.json"
    assert made["curl"] == "curl --json @job.json http://localhost/jobs"
    assert json.loads(made["file"])["payload"] == "🍌" * 2**20


def _words(command: str) -> list[str]:
    """The words of a command, as a shell passes them to the program."""
    programs = "".join(
        f'{name}() {{ printf "%s\\0" {name} "$@"; }}; ' for name in ("bananas", "curl")
    )
    done = subprocess.run(
        ["sh", "-c", programs + command],
        env={"API_TOKEN": "SECRET"},
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().split("\0")[:-1]
