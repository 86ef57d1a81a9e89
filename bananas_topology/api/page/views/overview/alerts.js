// The alerts.

import { h } from "../../dom.js";
import { section } from "../../parts.js";

const NAMES = { failure: "Failure", warning: "Warning" };

/** The alerts, worst first; `part` has their `value` or the `error` of reading them, if any yet. */
export function alertList(part) {
  const alerts = part?.value?.alerts ?? [];
  const sorted = [...alerts].sort((a, b) => rank(a) - rank(b));
  return section(
    "Alerts",
    { id: "alerts" },
    h(
      "ul",
      { class: "alerts", "aria-live": "polite", "aria-relevant": "additions" },
      keyed(sorted).map(item),
      part?.value && !alerts.length && h("li", { key: "none", class: "calm" }, "No alerts."),
      part?.error && h("li", { key: "error", class: "calm" }, part.error),
    ),
  );
}

/** With a key that outlasts the figures in their messages: only a new alert is to be read out. */
function keyed(alerts) {
  const seen = new Map();
  return alerts.map((alert) => {
    seen.set(alert.code, (seen.get(alert.code) ?? 0) + 1);
    return { ...alert, key: `${alert.code} ${seen.get(alert.code)}` };
  });
}

function item({ key, severity, message, remedy }) {
  const isFailure = severity === "failure";
  return h(
    "li",
    { key },
    h("span", { class: `badge ${isFailure ? "bad" : "warning"}` }, NAMES[severity] ?? severity),
    h(
      "span",
      null,
      withCode(message),
      remedy && h("span", { class: "muted" }, " Fix: ", withCode(remedy), "."),
    ),
  );
}

/** What is between backticks is code. */
function withCode(text) {
  return text.split("`").map((part, at) => (at % 2 ? h("code", null, part) : part));
}

function rank({ severity }) {
  return severity === "failure" ? 0 : 1;
}
