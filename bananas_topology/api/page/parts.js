// Parts that views have in common. All are descriptions for `render`.

import { h } from "./dom.js";
import { age, moment, UNKNOWN } from "./format.js";

/**
 * A table. `columns` have a `title`, a `cell` (a function of a row) and perhaps `isNumber` or a
 * `class`; the first names the row. `key` is a function of a row, unique among the rows.
 */
export function table({ caption, columns, rows, key, empty = "Nothing here." }) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const kind = (column) =>
    [column.isNumber && "number", column.class].filter(Boolean).join(" ") || null;
  const header = (column) => h("th", { scope: "col", class: kind(column) }, column.title);
  const cell = (row) => (column, at) =>
    h(at ? "td" : "th", { scope: at ? null : "row", class: kind(column) }, column.cell(row));
  return h(
    "div",
    { class: "scroller", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      null,
      h("caption", { class: "hidden" }, caption),
      h("thead", null, h("tr", null, columns.map(header))),
      h(
        "tbody",
        null,
        rows.map((row) => h("tr", { key: key(row) }, columns.map(cell(row)))),
      ),
    ),
  );
}

/** A part of a page with a heading; `tools` are beside that. */
export function section(title, { tools = null, id = null } = {}, ...content) {
  const labelled = id ?? title.toLowerCase().replaceAll(/[^a-z]+/g, "-");
  return h(
    "section",
    { class: "panel", "aria-labelledby": `${labelled}-title`, key: labelled },
    h("div", { class: "panel-head" }, h("h2", { id: `${labelled}-title` }, title), tools),
    content,
  );
}

/** What the API calls otherwise than this page. */
const STATES = { pending: "ready", processing: "running", failed: "dead" };

/** The state of a job: its name, with a mark of its own that does not depend on color. */
export function stateBadge(status) {
  return h("span", { class: `badge ${status}` }, STATES[status] ?? status);
}

/** How long ago something was; the exact time is shown when it is pointed at. */
export function ageOf(timestamp) {
  return timestamp
    ? h("time", { datetime: timestamp, title: moment(timestamp) }, age(timestamp))
    : UNKNOWN;
}

/**
 * One field of a form, with its label, a hint below it, and what is wrong with its value. `input`
 * describes the input, or a list that begins with it; it needs a `name`.
 */
export function field({ label, input, hint, error, key }) {
  const [main, ...rest] = [input].flat();
  const name = main.attributes.name;
  const notes = [hint && `${name}-hint`, error && `${name}-error`].filter(Boolean).join(" ");
  if (notes) main.attributes["aria-describedby"] = notes;
  if (error) main.attributes["aria-invalid"] = "true";
  return h(
    "div",
    { class: error ? "field invalid" : "field", key },
    h("label", null, h("span", { class: "label" }, label), main),
    rest,
    hint && h("span", { class: "hint", id: `${name}-hint` }, hint),
    error && h("span", { class: "error", id: `${name}-error` }, error),
  );
}

/**
 * A button. `kind` is how it looks: "primary", "danger", "quiet", "small"; other attributes are
 * those of `h`.
 */
export function button(label, click, { kind = "", ...attributes } = {}) {
  const look = kind ? `button ${kind}` : "button";
  return h("button", { type: "button", class: look, ...attributes, on: { click } }, label);
}

/** A choice between few things, of which one is always chosen. */
export function segments(label, options, chosen, choose) {
  return h(
    "div",
    { class: "segments", role: "group", "aria-label": label },
    options.map(([value, text]) =>
      h(
        "button",
        {
          type: "button",
          key: value,
          "aria-pressed": String(value === chosen),
          on: { click: () => choose(value) },
        },
        text,
      ),
    ),
  );
}
