// Retry or delete many dead jobs: preview, confirmation and outcome.

import { send } from "../api.js";
import { confirm, say, showDialog } from "../dialogs.js";
import { h } from "../dom.js";
import { quantity } from "../format.js";
import { button } from "../parts.js";
import { visible } from "../visible.js";

const WORDS = {
  retry: {
    verb: "Retry",
    done: "enqueued again",
    note: "They are enqueued again, and their attempts count from zero.",
  },
  purge: {
    verb: "Delete",
    done: "deleted",
    note: "They are deleted permanently, with their payloads and errors.",
  },
};

const SLOW_MS = 700;

/** How many ids are listed of the jobs that a retry has left. */
const MAX_LISTED = 20;

/** Retry or purge a selection, as POST /dead/… has it; resolves to whether it was confirmed. */
export async function changeDead(action, selection) {
  const { verb, done, note } = WORDS[action];
  const counting = send("POST", `dead/${action}`, { ...selection, dry_run: true });
  const counted = await announced(counting, "Counting…");
  const { count } = counted;
  if (count === 0) {
    if (counted.unreadable.length > 0) showLeft(counted);
    else say("No dead job matches any more.");
    return true;
  }
  const jobs = quantity(count, "dead job");
  const content = [h("p", null, selected(selection, jobs)), h("p", null, note)];
  const isDangerous = action === "purge";
  if (
    !(await confirm({ title: `${verb} ${jobs}?`, content, action: `${verb} ${jobs}`, isDangerous }))
  )
    return false;
  const made = await announced(send("POST", `dead/${action}`, selection), `${verb} ${jobs}…`);
  say(`${quantity(made.count, "job")} ${done}.`);
  showLeft(made);
  return true;
}

/** Say what takes longer than a moment. */
async function announced(promise, text) {
  const timer = setTimeout(() => say(text), SLOW_MS);
  return promise.finally(() => clearTimeout(timer));
}

function selected({ ids, type, error, older_than: age }, jobs) {
  const criteria = [
    type && ["of type ", h("b", { class: "value" }, visible(type))],
    error && ["with the error text ", h("b", { class: "value" }, visible(error))],
    age && ["that died more than ", h("b", null, visible(age)), " ago"],
  ].filter(Boolean);
  if (ids) return `${jobs}: the selected ones.`;
  if (criteria.length === 0) return `${jobs}: all there are.`;
  return [jobs, " ", criteria.map((each, at) => [at ? ", " : "", each]), "."];
}

/** Say which jobs a retry could not enqueue, and why. */
function showLeft({ unreadable, rejected }) {
  const left = [
    ...unreadable.map((id) => [id, "what is stored of it cannot be read"]),
    ...Object.entries(rejected),
  ];
  if (left.length === 0) return;
  showDialog(`${quantity(left.length, "job")} could not be retried`, (close) => [
    h(
      "dl",
      { class: "facts" },
      left
        .slice(0, MAX_LISTED)
        .map(([id, reason]) => [
          h("dt", { class: "mono value" }, visible(id)),
          h("dd", null, visible(reason)),
        ]),
    ),
    left.length > MAX_LISTED && h("p", null, `and ${quantity(left.length - MAX_LISTED, "other")}.`),
    h(
      "div",
      { class: "actions" },
      button("Close", () => close(), { kind: "primary", autofocus: true }),
    ),
  ]);
}
