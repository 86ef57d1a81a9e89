// Keys: single ones, and "g" with the key of a view. They can be switched off, since speech input
// and some keyboards send them by accident. A view names the field of "/" with data-shortcut="/".

import { showDialog } from "./dialogs.js";
import { h } from "./dom.js";
import { events } from "./live.js";
import { button } from "./parts.js";
import { go, ROUTES } from "./router.js";
import { switchTheme } from "./theme.js";

const KEY = "bananas-shortcuts";

/** How long "g" waits for its second key. */
const SEQUENCE_MS = 1500;

const ACTIONS = {
  "?": ["Show this help", showHelp],
  "/": ["Search or filter", focusSearch],
  r: [
    "Refresh",
    () => events.dispatchEvent(new CustomEvent("reset", { detail: {} })),
  ],
  t: ["Switch between the system's colors, light and dark", switchTheme],
};

let prefixedAt = 0;

/** Listen to the keyboard. */
export function start() {
  document.addEventListener("keydown", (event) => {
    if (!areOn() || event.defaultPrevented || isTyped(event)) return;
    const key = event.key;
    const isSecond = Date.now() - prefixedAt < SEQUENCE_MS;
    prefixedAt = key === "g" && !isSecond ? Date.now() : 0;
    const route = Object.entries(ROUTES).find(([, { key: its }]) => its === key);
    const action = isSecond ? route && (() => go(route[0])) : ACTIONS[key]?.[1];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/** Show all keys. */
export function showHelp() {
  if (document.querySelector("dialog[open]")) return;
  const views = Object.values(ROUTES).filter(({ key }) => key);
  const rows = [
    ...views.map(({ label, key }) => [["g", key], `Go to ${label}`]),
    ...Object.entries(ACTIONS).map(([key, [meaning]]) => [[key], meaning]),
    [["←", "→"], "In a chart: read the values of one time after another"],
    [["Esc"], "Close a dialog"],
  ];
  showDialog("Keyboard shortcuts", (close) => [
    h(
      "dl",
      { class: "keys" },
      rows.map(([keys, meaning]) =>
        h(
          "div",
          null,
          h(
            "dt",
            null,
            keys.map((key) => [h("kbd", null, key), " "]),
          ),
          h("dd", null, meaning),
        ),
      ),
    ),
    h(
      "label",
      { class: "check" },
      h("input", {
        type: "checkbox",
        checked: areOn(),
        on: { change: (event) => turn(event.target.checked) },
      }),
      "Use single-key shortcuts",
    ),
    h(
      "div",
      { class: "actions" },
      button("Close", () => close(), { kind: "primary", autofocus: true }),
    ),
  ]);
}

function areOn() {
  return localStorage.getItem(KEY) !== "off";
}

function turn(isOn) {
  if (isOn) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, "off");
}

function isTyped({ target, ctrlKey, metaKey, altKey, isComposing }) {
  return (
    ctrlKey ||
    metaKey ||
    altKey ||
    isComposing ||
    target.closest?.("input, textarea, select, [contenteditable]") ||
    document.querySelector("dialog[open]")
  );
}

function focusSearch() {
  document.querySelector('[data-shortcut="/"]')?.focus();
}
