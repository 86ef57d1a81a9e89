// The key figures at the top of the overview.

import { h } from "../../dom.js";
import { age, compact, count, duration, percent, quantity, rate, UNKNOWN } from "../../format.js";
import { link } from "../../router.js";
import { completePoints } from "./history.js";

/** The figures, from the latest event or response. */
export function figures(view, rates) {
  const queues = view.queues?.value;
  const backlog = view.counters?.backlog ?? queues?.backlog;
  const oldest = oldestOf(view.counters?.oldest ?? queues?.queues);
  const { workers, slots, running } = capacity(view);
  return h(
    "dl",
    { class: "figures", key: "figures" },
    figure(
      "Ready",
      compact(backlog?.ready),
      oldest ? `oldest waits ${age(oldest)}` : "none waits",
      {
        href: link("jobs", [], { state: "pending" }),
      },
    ),
    figure(
      "Running",
      compact(running),
      slots ? `${percent(running / slots)} of ${count(slots)} slots` : "no slots",
      {
        href: link("jobs", [], { state: "processing" }),
      },
    ),
    flow("Completed", "completed", view, rates),
    flow("Failed", "failed", view, rates),
    waiting(view),
    figure("Delayed", compact(backlog?.scheduled), "not due yet", {
      href: link("jobs", [], { state: "scheduled" }),
    }),
    figure("Dead", compact(backlog?.dead), backlog?.dead ? "retry or delete" : "none", {
      href: link("dead"),
      isBad: backlog?.dead > 0,
    }),
    figure("Workers", compact(workers), missing(view), { href: link("workers") }),
  );
}

function figure(name, value, note, { href = null, isBad = false, spark = null } = {}) {
  return h(
    "div",
    { key: name, class: isBad ? "figure bad" : "figure" },
    h("dt", null, href ? h("a", { href }, name) : name),
    h("dd", null, h("b", null, value), spark, note && h("small", null, note)),
  );
}

/** A rate now: by events, or without them that of the last complete step of the history. */
function flow(name, key, view, rates) {
  const now = rates.current(key);
  if (now) {
    return figure(name, rate(...now), "now", { spark: sparkline(rates.recent(key), key) });
  }
  const last = completePoints(view.history?.value).at(-1);
  const step = view.history?.value?.step_s;
  return figure(name, rate(last?.[key], step), last ? "lately" : null);
}

function waiting(view) {
  const points = completePoints(view.history?.value);
  const last = points.findLast(({ wait_ms }) => wait_ms);
  if (!last) return figure("Wait", UNKNOWN, null);
  const { p50, p95 } = last.wait_ms;
  return figure("Wait", duration(p95), `p95, median ${duration(p50)}`);
}

function sparkline(values, mark) {
  if (values.length < 3) return null;
  const top = Math.max(...values, 0.001);
  const along = values.map((value, at) => `${at} ${(20 - (value / top) * 19).toFixed(1)}`);
  return h(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${values.length - 1} 20`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    },
    h("path", { class: `line ${mark}`, d: `M${along.join("L")}` }),
  );
}

function capacity({ counters, pools, queues }) {
  if (counters) return counters;
  const each = pools?.value?.pools ?? [];
  const sum = (name) => each.reduce((total, pool) => total + pool[name], 0);
  return { workers: sum("workers"), slots: sum("slots"), running: queues?.value?.backlog.running };
}

function missing({ pools }) {
  const each = pools?.value?.pools ?? [];
  const short = each.filter(({ workers, wanted }) => wanted && workers < wanted.min);
  if (!short.length) return each.length ? `in ${quantity(each.length, "pool")}` : null;
  const number = short.reduce((total, { workers, wanted }) => total + wanted.min - workers, 0);
  return `${count(number)} missing`;
}

/** The earliest of the times by priority: of timestamps, or of queues that have one. */
function oldestOf(byPriority = {}) {
  const times = Object.values(byPriority).map((each) => each?.oldest ?? each);
  return times.filter((each) => typeof each === "string").sort()[0];
}
