// The live workers: what each runs now, its memory, its lease.

import { get } from "../api.js";
import { h, render } from "../dom.js";
import { bytes, count, percent, quantity } from "../format.js";
import { keepCurrent } from "../live.js";
import { ageOf, table } from "../parts.js";
import { link } from "../router.js";
import { now } from "../time.js";
import { visible } from "../visible.js";
import { everySecond, filters, pageButtons } from "./actions.js";
import { jobLink, nameOf, progress } from "./cells.js";
import { PAGE_SIZE } from "./pager.js";

export const title = "Workers";

/** Jobs that are named per worker; the others are counted. */
const MAX_NAMED = 3;

const ORDERS = {
  id: (worker) => worker.id,
  busiest: (worker) => -(worker.running / Math.max(worker.concurrency, 1)),
  memory: (worker) => -(worker.memory_bytes ?? 0),
  oldest: (worker) => worker.started_at ?? "",
};

export function show({ root, params, signal, replace }) {
  const filter = {
    pool: params.get("pool") ?? "",
    text: params.get("text") ?? "",
    order: params.get("order") || "id",
  };
  let workers = null;
  let page = 0;

  async function load() {
    ({ workers } = await get("workers", {}, { signal }));
    draw();
  }

  function choose(changes) {
    Object.assign(filter, changes);
    replace(filter);
    page = 0;
    draw();
  }

  function turn(by) {
    page += by;
    draw();
  }

  function draw() {
    const rows = selected(workers ?? [], filter);
    const last = Math.max(0, Math.ceil(rows.length / PAGE_SIZE) - 1);
    page = Math.min(page, last);
    const fields = [
      { name: "text", label: "Id or host", isSearch: true },
      {
        name: "pool",
        label: "Pool",
        options: ["", ...new Set((workers ?? []).map((worker) => worker.pool).sort())],
      },
      { name: "order", label: "Order by", options: Object.keys(ORDERS) },
    ];
    render(
      root,
      filters(fields, filter, choose),
      h(
        "div",
        { class: "panel" },
        h(
          "div",
          { class: "panel-head" },
          h("h2", null, workers === null ? "Workers" : summary(rows)),
        ),
        table({
          caption: "Workers",
          columns: COLUMNS,
          rows: rows.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE),
          key: (worker) => worker.id,
          empty: emptyText(workers),
        }),
        last > 0 &&
          pageButtons(h("span", { role: "status" }, `Page ${page + 1} of ${last + 1}`), {
            back: page > 0 && (() => turn(-1)),
            forward: page < last && (() => turn(1)),
          }),
      ),
    );
  }

  draw();
  keepCurrent(signal, load, { on: ["worker"] });
  everySecond(signal, draw);
}

function emptyText(workers) {
  if (workers === null) return "Loading…";
  return workers.length
    ? "No worker matches."
    : "No worker is running: jobs wait until one starts (bananas up).";
}

function selected(workers, { pool, text, order }) {
  const wanted = text.toLowerCase();
  const by = ORDERS[order] ?? ORDERS.id;
  return workers
    .filter(
      (worker) =>
        (!pool || worker.pool === pool) &&
        `${worker.id}\n${worker.host}`.toLowerCase().includes(wanted),
    )
    .map((worker) => [by(worker), worker])
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, worker]) => worker);
}

function summary(workers) {
  const slots = workers.reduce((sum, { concurrency }) => sum + concurrency, 0);
  const running = workers.reduce((sum, worker) => sum + worker.running, 0);
  const use = `${count(running)} of ${quantity(slots, "slot")} in use`;
  return `${quantity(workers.length, "worker")}, ${use}`;
}

const COLUMNS = [
  { title: "Worker", cell: (worker) => h("span", { class: "mono nowrap" }, visible(worker.id)) },
  { title: "Pool", cell: (worker) => nameOf(worker.pool) },
  { title: "Running", cell: load },
  { title: "Jobs", class: "wide", cell: jobs },
  { title: "Memory", isNumber: true, cell: (worker) => bytes(worker.memory_bytes) },
  { title: "Up for", isNumber: true, cell: (worker) => ageOf(worker.started_at) },
  { title: "Lease expires in", isNumber: true, cell: (worker) => ageOf(worker.lease_expires_at) },
  {
    title: "Host",
    cell: (worker) => h("span", { class: "value" }, `${worker.host}, pid ${worker.pid}`),
  },
];

function load({ running, concurrency, stuck }) {
  if (concurrency === 0) return h("span", { class: "muted" }, "scheduler only");
  const share = running / concurrency;
  return [
    h(
      "span",
      { class: "nowrap" },
      `${count(running)} of ${count(concurrency)} `,
      h("span", { class: "muted" }, `(${percent(share)})`),
    ),
    stuck > 0 &&
      h(
        "span",
        { class: "badge bad", title: "Slots held by handlers that ignore their timeout" },
        `${stuck} stuck`,
      ),
  ];
}

/** What the worker runs now, longest first. */
function jobs({ jobs: held, running, pool }) {
  const oldest = held.toSorted((a, b) => ((a.started_at ?? "") < (b.started_at ?? "") ? -1 : 1));
  const shown = oldest.slice(0, MAX_NAMED);
  const more = running - shown.length;
  return [
    shown.map((job) =>
      h(
        "div",
        { class: "held", key: job.id },
        jobLink(job.id),
        nameOf(job.name),
        progress(job.started_at, job.timeout_ms, now()),
      ),
    ),
    more > 0 &&
      h("a", { href: link("jobs", [], { pool }), key: "more" }, `and ${quantity(more, "other")}`),
  ];
}
