// Queue depths and the age of the oldest job, by priority and job type.

import { h } from "../../dom.js";
import { count, cssLength, quantity } from "../../format.js";
import { ageOf, section, table } from "../../parts.js";
import { link } from "../../router.js";

/** Job types that are listed of each priority: those with the most jobs. */
const TYPES = 8;

/** The queues; `part` has the answer of GET /queues as its `value`, or an `error`, if any yet. */
export function queues(part) {
  if (!part?.value) return section("Queues", {}, h("p", { class: "empty" }, part?.error ?? "…"));
  const rows = Object.entries(part.value.queues).flatMap(([priority, queue]) => [
    total(priority, queue),
    ...byType(priority, queue),
  ]);
  const most = Math.max(...rows.map(({ ready }) => ready), 1);
  return section(
    "Queues",
    {},
    table({
      caption: "Ready jobs by priority and job type",
      key: ({ key }) => key,
      rows,
      columns: [
        { title: "Queue", cell: name },
        { title: "Ready", isNumber: true, cell: ({ ready }) => count(ready) },
        {
          title: h("span", { class: "hidden" }, "Share"),
          class: "bar-cell",
          cell: ({ ready }) => bar(ready / most),
        },
        { title: "Oldest", isNumber: true, cell: ({ oldest }) => ageOf(oldest) },
      ],
    }),
  );
}

function total(priority, queue) {
  const types = [queue.parked, queue.suspects].flatMap(Object.values);
  const ready = types.reduce((sum, number) => sum + number, queue.ready + queue.omitted_types);
  return { key: priority, priority, ready, oldest: queue.oldest };
}

/** The types whose jobs wait apart from the others: for a worker with their handler, or alone. */
function byType(priority, queue) {
  const unhandled = new Set(queue.unhandled);
  const oldest = queue.oldest_by_type;
  const rows = [
    ...entries(queue.parked, null),
    ...entries(queue.suspects, "isolated after crashes"),
  ].map(({ type, ready, note }) => ({
    key: `${priority} ${type} ${note}`,
    priority,
    type,
    ready,
    oldest: oldest[type] ?? null,
    isBad: unhandled.has(type),
    note: unhandled.has(type) ? "no worker has a handler" : note,
  }));
  rows.sort((a, b) => b.ready - a.ready);
  const rest = rows.splice(TYPES);
  if (rest.length + queue.omitted_types === 0) return rows;
  return [...rows, others(priority, rest, queue.omitted_types)];
}

function entries(counts, note) {
  return Object.entries(counts).map(([type, ready]) => ({ type, ready, note }));
}

function others(priority, rows, omitted) {
  const ready = rows.reduce((sum, row) => sum + row.ready, omitted);
  const words = quantity(rows.length + omitted, "more type");
  return { key: `${priority} others`, priority, words, ready, oldest: null };
}

function name({ priority, type, words, note, isBad }) {
  if (words) return h("span", { class: "sub muted" }, words);
  if (!type) return h("a", { href: link("jobs", [], { state: "pending" }) }, priority);
  return h(
    "span",
    { class: "sub" },
    h("a", { href: link("jobs", [], { state: "pending", type }) }, type),
    note && h("span", { class: isBad ? "badge bad" : "badge warning" }, note),
  );
}

function bar(share) {
  return h(
    "span",
    { class: "bar", "aria-hidden": "true" },
    h("i", { style: { width: cssLength(share) } }),
  );
}
