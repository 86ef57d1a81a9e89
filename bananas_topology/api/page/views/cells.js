// How a job is shown in a table: parts of rows that several views have.

import { h } from "../dom.js";
import { cssLength, duration, percent, UNKNOWN } from "../format.js";
import { link } from "../router.js";
import { shortened, visible } from "../visible.js";

/** A job's id, which leads to the job. */
export function jobLink(id) {
  return h(
    "a",
    { href: link("job", [id]), class: "mono id", title: visible(id) },
    shortened(id, 40),
  );
}

/** A name that a producer chose. */
export function nameOf(name) {
  return h("span", { class: "value" }, name === null ? UNKNOWN : shortened(name, 80));
}

/** The beginning of an error; nothing if there is none. */
export function errorText(error) {
  return error && h("span", { class: "value cause" }, shortened(error, 200));
}

/** How long a job has run, as a share of its timeout if that is known. */
export function progress(startedAt, timeoutMs, now) {
  if (!startedAt) return UNKNOWN;
  const ran = Math.max(0, now - Date.parse(startedAt));
  if (!timeoutMs) return duration(ran);
  const share = Math.min(1, ran / timeoutMs);
  const text = `${duration(ran)} of ${duration(timeoutMs)}`;
  return h(
    "span",
    { class: "progress" },
    h(
      "span",
      {
        class: share > 0.8 ? "ran late" : "ran",
        role: "meter",
        "aria-label": "Share of the timeout",
        "aria-valuenow": Math.round(share * 100),
        "aria-valuemin": 0,
        "aria-valuemax": 100,
        "aria-valuetext": `${percent(share)}: ${text}`,
      },
      h("span", { style: { width: cssLength(share) } }),
    ),
    h("span", { class: "nowrap" }, text),
  );
}
