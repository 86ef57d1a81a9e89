// Jobs that finish while the page is open: what the API samples of them.

import { duration } from "../format.js";
import { events } from "../live.js";
import { ageOf, stateBadge, table } from "../parts.js";
import { errorText, jobLink, nameOf } from "./cells.js";

/** How many are kept. */
const KEPT = 200;

let finished = [];
let number = 0;

events.addEventListener("job", ({ detail }) => {
  number += 1;
  finished = [{ ...detail, number }, ...finished].slice(0, KEPT);
});

const COLUMNS = [
  { title: "Job", cell: (job) => jobLink(job.id) },
  { title: "Type", cell: (job) => nameOf(job.name) },
  { title: "Outcome", cell: (job) => stateBadge(job.outcome) },
  { title: "Finished", class: "nowrap", cell: (job) => ageOf(job.at) },
  {
    title: "Took",
    isNumber: true,
    cell: (job) => duration(job.duration_ms),
  },
  { title: "Worker", cell: (job) => nameOf(job.worker_id) },
  { title: "Error", class: "wide", cell: (job) => errorText(job.error) },
];

/** The latest of them, newest first; those that a filter selects. */
export function finishedTable({ type, pool, text }) {
  const wanted = text.toLowerCase();
  const rows = finished.filter(
    (job) =>
      (!type || job.name === type) &&
      (!pool || job.pool === pool) &&
      (!wanted || `${job.id}\n${job.error ?? ""}`.toLowerCase().includes(wanted)),
  );
  return table({
    caption: "Jobs that finished while this page was open",
    columns: COLUMNS,
    rows: rows.slice(0, 50),
    key: (job) => job.number,
    empty: "No job has finished since this page was opened.",
  });
}
