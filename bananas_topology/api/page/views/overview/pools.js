// The pools, compared with the topology.

import { h } from "../../dom.js";
import { count, cssLength, percent, UNKNOWN } from "../../format.js";
import { section, table } from "../../parts.js";
import { link } from "../../router.js";

/** Job types that are named of each pool. */
const TYPES = 3;

/** A pool that is busier has no room for a peak: the end of the band that is marked. */
const BUSY = 0.8;

/** The pools; `part` has the answer of GET /pools as its `value`, or an `error`, if any yet. */
export function pools(part) {
  if (!part?.value) return section("Pools", {}, h("p", { class: "empty" }, part?.error ?? "…"));
  return section(
    "Pools",
    { tools: h("span", { class: "muted small" }, "The band marks 60–80 %") },
    table({
      caption: "Pools, with their workers and utilization",
      key: ({ name }) => name,
      rows: part.value.pools,
      empty: "No workers are running, and the topology has no pools.",
      columns: [
        {
          title: "Pool",
          cell: ({ name }) =>
            h("a", { href: link("workers", [], { pool: name }) }, name || "(none)"),
        },
        { title: "Workers", cell: workers },
        { title: "Utilization", class: "meter-cell", cell: meter },
        {
          title: "Slots",
          isNumber: true,
          cell: ({ running, slots }) => (slots ? `${count(running)} / ${count(slots)}` : UNKNOWN),
        },
        { title: "Takes", class: "takes", cell: takes },
      ],
    }),
  );
}

function workers({ workers: living, wanted, stuck }) {
  return h(
    "span",
    { class: "row nowrap" },
    wanted ? `${count(living)} of ${range(wanted)}` : count(living),
    wanted && living < wanted.min && badge("bad", `${count(wanted.min - living)} missing`),
    wanted && living > wanted.max && badge("warning", `${count(living - wanted.max)} too many`),
    stuck > 0 && badge("bad", `${count(stuck)} stuck`),
  );
}

function range({ min, max }) {
  return min === max ? count(min) : `${count(min)}–${count(max)}`;
}

function badge(kind, text) {
  return h("span", { class: `badge ${kind}` }, text);
}

function meter({ name, running, slots, utilization }) {
  if (!slots) return h("span", { class: "muted" }, "no slots");
  const share = Math.min(utilization ?? running / slots, 1);
  return h(
    "span",
    { class: "row meter-row" },
    h(
      "span",
      {
        class: share > BUSY ? "meter above" : "meter",
        role: "meter",
        "aria-label": `Utilization of ${name}`,
        "aria-valuemin": 0,
        "aria-valuemax": 100,
        "aria-valuenow": Math.round(share * 100),
      },
      h("i", { style: { width: cssLength(share) } }),
    ),
    h("span", { class: "number" }, percent(share)),
  );
}

function takes({ workers: living, slots, priorities, job_types: types }) {
  if (!living) return h("span", { class: "muted" }, "no live worker");
  if (!slots) return h("span", { class: "muted" }, "delayed jobs and schedules");
  return h(
    "span",
    null,
    priorities.join(", "),
    types.length > 0 && h("span", { class: "muted" }, ` · ${shortened(types)}`),
  );
}

function shortened(types) {
  const [shown, rest] = [types.slice(0, TYPES), types.length - TYPES];
  return `${shown.join(", ")}${rest > 0 ? ` and ${count(rest)} more` : ""}`;
}
