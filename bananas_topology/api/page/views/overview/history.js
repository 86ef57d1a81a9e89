// The history of the last hour or day: charts, and sums by job type and pool.

import { chart } from "../../chart.js";
import { h } from "../../dom.js";
import { clock, count, decimal, duration, isSlow } from "../../format.js";
import { section, segments, table } from "../../parts.js";
import { durationTicks, valueTicks } from "../../scale.js";
import { breakdown } from "./breakdown.js";

export const PERIODS = { hour: "Last hour", day: "Last day" };

const PERCENTILES = ["p50", "p95", "p99"];

/** The completed steps: the current one is still being counted. */
export function completePoints(history) {
  if (!history) return [];
  const end = Date.parse(history.until) - history.step_s * 1000;
  return history.points.filter(({ at }) => Date.parse(at) <= end);
}

/**
 * The history. `view.history` has the answer of GET /history as its `value`, or an `error`, if any
 * yet; `change` is called with changes of the view, and with changes of what is selected.
 */
export function history(view, change) {
  const { value, error } = view.history ?? {};
  const points = completePoints(value);
  const body = error
    ? h("p", { class: "empty" }, error)
    : points.length < 2
      ? h("p", { class: "empty" }, "…")
      : view.isTable
        ? values(points)
        : charts(points, value.step_s, view, change);
  return h(
    "div",
    { class: "stack", key: "history" },
    section("History", { tools: tools(view, value, change) }, body),
    value && breakdown(value, view, change),
  );
}

function tools({ selected, isTable }, value, change) {
  return h(
    "div",
    { class: "row" },
    choice("Job type", "All types", selected.type, value?.types, (type) => change({}, { type })),
    choice("Pool", "All pools", selected.pool, value?.pools, (pool) => change({}, { pool })),
    segments("Period", Object.entries(PERIODS), selected.period, (period) =>
      change({}, { period }),
    ),
    segments(
      "Shown as",
      [
        [false, "Charts"],
        [true, "Table"],
      ],
      isTable,
      (shown) => change({ isTable: shown }),
    ),
  );
}

function choice(label, all, chosen, sums = [], choose) {
  const names = sums.map(({ name }) => name).filter((name) => name !== null);
  if (chosen && !names.includes(chosen)) names.push(chosen);
  return h(
    "select",
    {
      class: "small",
      "aria-label": label,
      value: chosen,
      on: { change: (event) => choose(event.target.value) },
    },
    h("option", { key: "", value: "" }, all),
    names.sort().map((name) => h("option", { key: `=${name}`, value: name }, name)),
  );
}

function charts(points, stepS, view, change) {
  const times = points.map(({ at }) => Date.parse(at));
  const point = (cursor) => cursor !== view.cursor && change({ cursor });
  const shared = { times, cursor: view.cursor, point };
  const most = Math.max(...points.map(({ completed, failed }) => completed + failed));
  const perMinute = isSlow(most, stepS);
  const rated = (name) => points.map((each) => (each[name] / stepS) * (perMinute ? 60 : 1));
  const rate = (value) => `${decimal(value)}/${perMinute ? "min" : "s"}`;
  return h(
    "div",
    { class: "charts" },
    chart({
      ...shared,
      id: "throughput",
      title: "Completed",
      ticks: valueTicks,
      format: rate,
      series: [{ name: "jobs", mark: "completed", shape: "area", values: rated("completed") }],
    }),
    chart({
      ...shared,
      id: "failures",
      title: "Failed runs",
      ticks: valueTicks,
      format: decimal,
      series: [
        { name: "retried", mark: "retried", shape: "bars", values: points.map(retried) },
        { name: "dead", mark: "dead", shape: "bars", values: points.map(({ dead }) => dead) },
      ],
    }),
    chart({ ...shared, id: "wait", title: "Wait", ...percentiles(points, "wait_ms") }),
    chart({ ...shared, id: "run", title: "Run time", ...percentiles(points, "run_ms") }),
  );
}

function retried({ failed, dead }) {
  return failed - dead;
}

function percentiles(points, name) {
  return {
    ticks: durationTicks,
    format: duration,
    series: PERCENTILES.map((percentile) => ({
      name: percentile,
      mark: percentile,
      shape: "line",
      values: points.map((each) => each[name]?.[percentile] ?? null),
    })),
  };
}

/** The same as a table, newest first. */
function values(points) {
  const number = (title, cell) => ({ title, cell, isNumber: true });
  const times = (title, name) =>
    PERCENTILES.map((percentile) =>
      number(`${title} ${percentile}`, (each) => duration(each[name]?.[percentile])),
    );
  return table({
    caption: "History by time",
    key: ({ at }) => at,
    rows: [...points].reverse(),
    columns: [
      { title: "Time", cell: ({ at }) => clock(at) },
      number("Completed", ({ completed }) => count(completed)),
      number("Failed", ({ failed }) => count(failed)),
      number("Dead", ({ dead }) => count(dead)),
      ...times("Wait", "wait_ms"),
      ...times("Run", "run_ms"),
    ],
  });
}
