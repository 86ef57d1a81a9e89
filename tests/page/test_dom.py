"""How descriptions of elements become elements: what survives an update."""

from __future__ import annotations

from typing import Any

from tests.page.browser import Tab

_SETUP = """
const { h, render } = await import("/page/dom.js");
const box = document.createElement("div");
document.body.append(box);
const row = (key) => h("li", { key }, h("input", { value: key }), key);
const list = (...keys) => render(box, h("ul", null, keys.map(row)));
const inputs = () => [...box.querySelectorAll("input")];
"""


def _run(tab: Tab, script: str) -> Any:
    return tab.open().evaluate(f"async () => {{ {_SETUP} {script} }}")


def test_focus_and_what_was_typed_survive_when_rows_come_go_and_move(tab: Tab) -> None:
    found = _run(
        tab,
        """
        list("a", "b", "c");
        const typed = inputs()[1];
        typed.focus();
        typed.value = "typed";
        list("new", "b", "c", "a");
        const first = [box.textContent, document.activeElement === typed, typed.value];
        list("b");
        return [...first, box.textContent, document.activeElement === typed, typed.value];
        """,
    )

    assert found == ["newbca", True, "typed", "b", True, "typed"]


def test_a_value_that_the_view_changes_replaces_what_was_typed(tab: Tab) -> None:
    found = _run(
        tab,
        """
        render(box, h("input", { value: "a" }));
        inputs()[0].value = "typed";
        render(box, h("input", { value: "" }));
        return inputs()[0].value;
        """,
    )

    assert found == ""


def test_text_is_never_markup(tab: Tab) -> None:
    found = _run(
        tab,
        """
        const hostile = "<img src=x onerror='window.pwned = 1'>";
        render(box, hostile, h("p", { title: `'>${hostile}` }, hostile));
        const paragraph = box.firstElementChild;
        return [box.childElementCount, paragraph.childElementCount, window.pwned ?? null];
        """,
    )

    assert found == [1, 0, None]


def test_text_that_would_turn_other_text_around_is_shown_as_an_escape(tab: Tab) -> None:
    found = _run(
        tab,
        r"""
        render(box, h("p", { title: "\u202egnp", id: "\u202e" }, "of \u202egnp\u001b[31m"));
        const paragraph = box.firstElementChild;
        render(box, h("p", { title: "\u202ebig", id: "\u202e" }, "of \u202ebig"));
        return [paragraph.textContent, paragraph.title, paragraph.id];
        """,
    )

    assert found == [r"of \u202ebig", r"\u202ebig", "\u202e"]


def test_attributes_handlers_and_styles_that_are_left_out_are_removed(tab: Tab) -> None:
    found = _run(
        tab,
        """
        let clicks = 0;
        const button = (attributes) => render(box, h("button", attributes, "x"));
        button({ title: "t", disabled: false, hidden: true, style: { width: "40%" },
                 on: { click: () => clicks += 1 } });
        const before = box.innerHTML;
        box.firstElementChild.click();
        button({ title: null });
        box.firstElementChild.click();
        return [before, box.innerHTML, clicks];
        """,
    )

    assert found == [
        '<button title="t" hidden="" style="width: 40%;">x</button>',
        '<button style="">x</button>',
        1,
    ]


def test_a_drawing_is_a_drawing_and_a_select_has_its_value(tab: Tab) -> None:
    found = _run(
        tab,
        """
        const option = (value) => h("option", { value }, value);
        render(box, h("svg", { viewBox: "0 0 1 1" }, h("path", { d: "M0 0" })),
          h("select", { value: "b" }, option("a"), option("b")));
        return [box.querySelector("path").namespaceURI, box.querySelector("select").value];
        """,
    )

    assert found == ["http://www.w3.org/2000/svg", "b"]
