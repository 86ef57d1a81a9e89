// Shared by views: actions of the user, paging controls, filters.

import { ApiError } from "../api.js";
import { say } from "../dialogs.js";
import { h } from "../dom.js";
import { events, keepCurrent } from "../live.js";
import { button, field } from "../parts.js";

/** Do something the reader asked for; says what failed. Resolves to whether it was done. */
export async function attempt(action) {
  try {
    await action();
    return true;
  } catch (error) {
    if (error.name === "AbortError") return false;
    if (!(error instanceof ApiError)) throw error;
    const hint =
      error.status === 403 ? ". To enter another token, forget this one (at the top)." : "";
    say(error.detail + hint, { isError: true });
    return false;
  }
}

/**
 * Keep what a pager has read current. Later pages than the first are read again only when
 * everything is: the rows that the reader is looking at would move. Slow ones are less often.
 */
export function follow(pager, signal) {
  const load = async () => {
    if (!pager.isLoaded || pager.isFollowing) await pager.reload();
  };
  const loadAnyway = () => pager.isFollowing || pager.reload();
  keepCurrent(signal, load);
  events.addEventListener("reset", loadAnyway, { signal });
}

const busy = new WeakSet();

/**
 * A button that does something once at a time, and says what failed.
 *
 * It can have the focus while it `isOff` or busy: a keyboard user would lose the place otherwise.
 */
export function actionButton(label, action, { isOff = false, ...attributes } = {}) {
  const click = async ({ currentTarget }) => {
    if (isOff || busy.has(currentTarget)) return;
    busy.add(currentTarget);
    currentTarget.setAttribute("aria-busy", "true");
    await attempt(action);
    currentTarget.removeAttribute("aria-busy");
    busy.delete(currentTarget);
  };
  return button(label, click, { ...attributes, "aria-disabled": isOff ? "true" : null });
}

/** The controls below a page of rows, and what screen readers say of a search. */
export function pageControls(pager) {
  return [h("p", { class: "hidden", role: "status", key: "found" }, pager.found), turning(pager)];
}

function turning(pager) {
  const { number, next, rows } = pager;
  if (number === 1 && next === null) return null;
  return pageButtons(h("span", null, `Page ${number}`), {
    back: number > 1 && (() => pager.back()),
    forward: next !== null && (() => pager.forward()),
    onward: rows.length === 0 && next !== null ? "Continue searching" : "Next",
  });
}

/** Buttons around the number of a page; `back` and `forward` are false if there is no such page. */
export function pageButtons(number, { back, forward, onward = "Next" }) {
  return h(
    "nav",
    { class: "pages", "aria-label": "Pages" },
    actionButton("Previous", back, { kind: "small", isOff: !back, key: "back" }),
    number,
    actionButton(onward, forward, { kind: "small", isOff: !forward, key: "next" }),
  );
}

/** What is shown in place of rows. */
export function emptyText(pager, nothing) {
  if (pager.problem) return h("span", { class: "error", role: "alert" }, pager.problem);
  if (pager.isSearching) return "Searching…";
  if (!pager.isLoaded) return "Loading…";
  return pager.next === null ? nothing : "No match so far, and more jobs to search.";
}

/**
 * A form of filters. `fields` have a `name` and a `label`, and perhaps `options` (values, with ""
 * for all), `suggestions`, a `placeholder`, or `isSearch`; `changed` gets all values.
 */
export function filters(fields, values, changed) {
  const submit = (event) => {
    event.preventDefault();
    changed(Object.fromEntries(new FormData(event.target.closest("form"))));
  };
  return h(
    "form",
    { class: "filters", role: "search", on: { submit, change: submit } },
    fields.map((each) =>
      field({ key: each.name, label: each.label, input: input(each, values[each.name] ?? "") }),
    ),
  );
}

function input({ name, options, suggestions, placeholder, isSearch }, value) {
  if (options) {
    const all = options.includes(value) ? options : [...options, value];
    return h(
      "select",
      { name, value },
      all.map((option) => h("option", { value: option, key: option }, option || "All")),
    );
  }
  const list = suggestions && `${name}-suggestions`;
  return [
    h("input", {
      name,
      value,
      list,
      placeholder,
      type: isSearch ? "search" : "text",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 200,
      "data-shortcut": isSearch ? "/" : null,
    }),
    suggestions &&
      h(
        "datalist",
        { id: list },
        suggestions.map((each) => h("option", { value: each, key: each })),
      ),
  ];
}

/** Call something each second until the signal is aborted, while the page can be seen. */
export function everySecond(signal, tick) {
  const timer = setInterval(() => document.hidden || tick(), 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
}
