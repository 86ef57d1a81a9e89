// The sums of the history by job type or pool.

import { h } from "../../dom.js";
import { count, duration, percent, quantity } from "../../format.js";
import { button, section, segments, table } from "../../parts.js";

/** Number of rows shown until the user asks for all. */
const ROWS = 10;

const KINDS = { types: "Job types", pools: "Pools" };

/** The sums of GET /history as a table; a name selects what the charts show. */
export function breakdown(history, view, change) {
  const kind = view.breakdown;
  const all = history[kind];
  const rows = view.isComplete ? all : all.slice(0, ROWS);
  const parameter = kind === "types" ? "type" : "pool";
  const choose = (name) =>
    change({}, { [parameter]: view.selected[parameter] === name ? "" : name });
  const rest = all.length - rows.length;
  return section(
    view.selected.period === "hour" ? "Sums of the last hour" : "Sums of the last day",
    {
      id: "sums",
      tools: segments("Sums by", Object.entries(KINDS), kind, (chosen) =>
        change({ breakdown: chosen, isComplete: false }),
      ),
    },
    table({
      caption: `History by ${KINDS[kind].toLowerCase()}`,
      key: ({ name }) => (name === null ? "" : `=${name}`),
      rows,
      empty: "No job ran in this time.",
      columns: columns(KINDS[kind].slice(0, -1), view.selected[parameter], choose),
    }),
    rest > 0 &&
      h(
        "div",
        { class: "panel-foot" },
        button(`Show ${quantity(rest, "more row")}`, () => change({ isComplete: true }), {
          kind: "small",
        }),
      ),
  );
}

function columns(title, selected, choose) {
  const number = (heading, cell, extra) => ({ title: heading, cell, isNumber: true, class: extra });
  return [
    { title, cell: ({ name }) => nameOf(name, selected, choose) },
    number("Completed", ({ completed }) => count(completed)),
    number("Failed runs", failures),
    number("Dead", ({ dead }) => count(dead)),
    number("Wait p50", ({ wait_ms: wait }) => duration(wait?.p50)),
    number("p95", ({ wait_ms: wait }) => duration(wait?.p95)),
    number("p99", ({ wait_ms: wait }) => duration(wait?.p99)),
    number("Run p50", ({ run_ms: run }) => duration(run?.p50)),
    number("p95", ({ run_ms: run }) => duration(run?.p95)),
    number("p99", ({ run_ms: run }) => duration(run?.p99)),
  ];
}

function nameOf(name, selected, choose) {
  if (name === null) return h("span", { class: "muted" }, "all others");
  return h(
    "button",
    {
      type: "button",
      class: "name",
      "aria-pressed": String(name === selected),
      title: name === selected ? "Show all in the charts" : "Show only this in the charts",
      on: { click: () => choose(name) },
    },
    name,
  );
}

function failures({ completed, failed }) {
  if (!failed) return "0";
  return [
    h("span", { class: "muted" }, `${percent(failed / (completed + failed))} `),
    h("span", { class: "error" }, count(failed)),
  ];
}
