// Long texts: JSON, tracebacks, commands. Megabytes are cut, and can be shown or saved whole.

import { say } from "../dialogs.js";
import { h } from "../dom.js";
import { bytes } from "../format.js";
import { pretty } from "../json.js";
import { button } from "../parts.js";
import { beginning, visibleLines } from "../visible.js";

/** Characters that are shown at first, and at most: a browser lays out more only slowly. */
const FIRST = 16 * 1024;
const MOST = 128 * 1024;

/** What scrolls can be scrolled by keyboard. */
const SCROLLED = { tabindex: 0, role: "group" };

/** Blocks of a view, which calls `redraw` when more or less of one is to be shown. */
export function textBlocks(redraw) {
  const expanded = new Set();
  const limit = (label) => (expanded.has(label) ? MOST : FIRST);
  const state = (label) => ({
    isExpanded: expanded.has(label),
    toggle() {
      if (!expanded.delete(label)) expanded.add(label);
      redraw();
    },
  });
  return {
    /** JSON, given as text; `file` is its name when it is saved. */
    json(label, text, file) {
      const shown = pretty(text, limit(label));
      return block({ label, text, shown, file, type: "application/json", ...state(label) });
    },
    /** Any text; the kind "lines" does not wrap them. */
    text(label, text, file, kind = null) {
      const start = beginning(text, limit(label));
      const shown = { text: visibleLines(start), isCut: start.length < text.length };
      return block({ label, text, shown, file, type: "text/plain", kind, ...state(label) });
    },
  };
}

/** A text to copy. Without the clipboard, which browsers give to https only, it is selected. */
export function copyBlock(label, text) {
  const copy = async ({ currentTarget }) => {
    const shown = currentTarget.parentElement.querySelector("pre");
    try {
      await navigator.clipboard.writeText(text);
      say(`${label} copied.`);
    } catch {
      getSelection().selectAllChildren(shown);
      say(
        "The browser does not allow this page to copy. The text is selected: press Ctrl+C or ⌘C.",
      );
    }
  };
  return h(
    "div",
    { class: "copy" },
    h("pre", { ...SCROLLED, "aria-label": label }, text),
    button(["Copy", h("span", { class: "hidden" }, ` ${label}`)], copy, { kind: "small" }),
  );
}

/** Save a text as a file. */
export function download(text, file, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = file;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function block({ label, text, shown, file, type, isExpanded, toggle, kind = null }) {
  const save = () => download(text, file, type);
  const rest = isExpanded ? ": save it to read the rest." : ".";
  return h(
    "div",
    { class: "block" },
    h("pre", { ...SCROLLED, "aria-label": label, class: kind }, shown.text, shown.isCut && "…"),
    (shown.isCut || isExpanded) &&
      h(
        "div",
        { class: "row" },
        shown.isCut &&
          h("span", { class: "muted" }, `The beginning of about ${bytes(text.length)}${rest}`),
        button(isExpanded ? "Show less" : "Show more", toggle, { kind: "small" }),
        button("Save as a file", save, { kind: "small" }),
      ),
  );
}
