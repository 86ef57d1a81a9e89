// Find jobs: by state, type, pool and text.

import { get } from "../api.js";
import { h, render } from "../dom.js";
import { UNKNOWN } from "../format.js";
import { ageOf, segments, stateBadge, table } from "../parts.js";
import { now } from "../time.js";
import { emptyText, everySecond, filters, follow, pageControls } from "./actions.js";
import { errorText, jobLink, nameOf, progress } from "./cells.js";
import { Pager } from "./pager.js";
import { finishedTable } from "./finished.js";

export const title = "Jobs";

/** What can be chosen: a job's status, or those which finish while the page is open. */
const STATES = [
  ["", "All"],
  ["processing", "Running"],
  ["pending", "Ready"],
  ["scheduled", "Scheduled"],
  ["failed", "Dead"],
  ["completed", "Completed"],
  ["finished", "Just finished"],
];

const JOB = { title: "Job", cell: (job) => jobLink(job.id) };
const TYPE = { title: "Type", cell: (job) => nameOf(job.name) };
const STATE = { title: "State", cell: (job) => stateBadge(job.status) };
const PRIORITY = { title: "Priority", cell: (job) => job.priority ?? UNKNOWN };
const ATTEMPTS = { title: "Attempts", isNumber: true, cell: (job) => job.attempts ?? UNKNOWN };
const ERROR = { title: "Last error", class: "wide", cell: (job) => errorText(job.error) };
const CREATED = { title: "Created", class: "nowrap", cell: (job) => ageOf(job.created_at) };
const WORKER = { title: "Worker", cell: (job) => nameOf(job.worker_id) };
const POOL = { title: "Pool", cell: (job) => nameOf(job.pool) };
const RUNNING = {
  title: "Running for",
  cell: (job) => progress(job.started_at, job.timeout_ms, now()),
};

const COLUMNS = {
  "": [JOB, TYPE, STATE, PRIORITY, CREATED, ATTEMPTS, ERROR],
  processing: [JOB, TYPE, RUNNING, WORKER, POOL, ATTEMPTS],
  pending: [JOB, TYPE, PRIORITY, CREATED, ATTEMPTS, ERROR],
  scheduled: [
    JOB,
    TYPE,
    PRIORITY,
    { title: "Due", class: "nowrap", cell: (job) => ageOf(job.due_at) },
    ATTEMPTS,
    ERROR,
  ],
  failed: [JOB, TYPE, PRIORITY, CREATED, ATTEMPTS, ERROR],
  completed: [
    JOB,
    TYPE,
    PRIORITY,
    { title: "Completed", class: "nowrap", cell: (job) => ageOf(job.completed_at) },
    ATTEMPTS,
  ],
};

export function show({ root, params, signal, replace }) {
  const filter = Object.fromEntries(
    ["state", "type", "pool", "text"].map((name) => [name, params.get(name) ?? ""]),
  );
  const known = { types: [], pools: [] };
  const pager = new Pager({ read, changed: draw, signal });

  async function read(cursor, limit, signal) {
    if (filter.state === "finished") return { rows: [], next: null };
    const { jobs, next } = await get("jobs", { ...filter, limit, cursor }, { signal });
    return { rows: jobs, next };
  }

  function choose(changes) {
    Object.assign(filter, changes);
    replace(filter);
    pager.restart();
  }

  function draw() {
    const fields = [
      { name: "text", label: "Text in id, payload or error", isSearch: true },
      { name: "type", label: "Type", suggestions: known.types },
      { name: "pool", label: "Running in pool", options: ["", ...known.pools] },
    ];
    render(
      root,
      h(
        "div",
        { class: "toolbar" },
        segments("State", STATES, filter.state, (state) => choose({ state })),
      ),
      filters(fields, filter, choose),
      h(
        "div",
        { class: "panel", "aria-busy": String(pager.isLoading) },
        rows(),
        pageControls(pager),
      ),
    );
  }

  function rows() {
    if (filter.state === "finished") return finishedTable(filter);
    // A pool selects the jobs that run in it.
    const columns = COLUMNS[filter.pool ? "processing" : filter.state] ?? COLUMNS[""];
    const empty = emptyText(pager, "No job matches.");
    return table({ caption: "Jobs", columns, rows: pager.rows, key: (job) => job.id, empty });
  }

  draw();
  loadKnown(known, signal).then(draw, () => {});
  follow(pager, signal);
  everySecond(
    signal,
    () => (filter.state === "processing" || filter.state === "finished") && draw(),
  );
}

async function loadKnown(known, signal) {
  const { pools } = await get("pools", {}, { signal });
  known.pools = pools.map(({ name }) => name);
  known.types = [...new Set(pools.flatMap(({ job_types }) => job_types))].sort();
}
