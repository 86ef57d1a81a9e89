// Dead jobs: find them by type, error and age, and retry or delete many at once.

import { get } from "../api.js";
import { h, render } from "../dom.js";
import { quantity } from "../format.js";
import { ageOf, table } from "../parts.js";
import { visible } from "../visible.js";
import { actionButton, emptyText, filters, follow, pageControls } from "./actions.js";
import { errorText, jobLink, nameOf } from "./cells.js";
import { changeDead } from "./dead_changes.js";
import { Pager } from "./pager.js";

export const title = "Dead jobs";

const CRITERIA = ["type", "error", "older_than"];

export function show({ root, params, signal, replace }) {
  const filter = Object.fromEntries(CRITERIA.map((name) => [name, params.get(name) ?? ""]));
  const chosen = new Set();
  let total = null;
  const pager = new Pager({ read, changed: draw, signal });

  async function read(cursor, limit, signal) {
    const page = await get("dead", { ...filter, limit, cursor }, { signal });
    total = page.total;
    return { rows: page.jobs, next: page.next };
  }

  function search(changes) {
    Object.assign(filter, changes);
    replace(filter);
    chosen.clear();
    pager.restart();
  }

  /** All that match, or those that are selected. */
  async function change(action, isOfChosen) {
    const given = Object.fromEntries(Object.entries(filter).filter(([, value]) => value));
    const isFiltered = Object.keys(given).length > 0;
    const selection = isOfChosen ? { ids: [...chosen] } : isFiltered ? given : { all: true };
    if (!(await changeDead(action, selection))) return;
    chosen.clear();
    await pager.restart();
  }

  function draw() {
    for (const id of chosen) if (!pager.rows.some((job) => job.id === id)) chosen.delete(id);
    render(root, form(), panel());
  }

  function form() {
    const fields = [
      { name: "error", label: "Text in the error", isSearch: true },
      {
        name: "type",
        label: "Type",
        suggestions: [...new Set(pager.rows.map((job) => job.name).filter(Boolean))],
      },
      { name: "older_than", label: "Dead for more than", placeholder: "such as 24h" },
    ];
    return filters(fields, filter, search);
  }

  function panel() {
    const isFiltered = Object.values(filter).some(Boolean);
    const words = isFiltered ? "all matching" : "all";
    return h(
      "div",
      { class: "panel", "aria-busy": String(pager.isLoading) },
      h(
        "div",
        { class: "panel-head" },
        h("h2", null, total === null ? "Dead jobs" : `${quantity(total, "dead job")} in all`),
        h(
          "div",
          { class: "actions" },
          chosen.size > 0 && [
            actionButton(`Retry ${chosen.size} selected`, () => change("retry", true), {
              kind: "small",
              key: "retry",
            }),
            actionButton(`Delete ${chosen.size} selected`, () => change("purge", true), {
              kind: "small",
              key: "purge",
            }),
          ],
          actionButton(`Retry ${words}…`, () => change("retry", false), {
            kind: "small",
            key: "retry-all",
            isOff: !total,
          }),
          actionButton(`Delete ${words}…`, () => change("purge", false), {
            kind: "small",
            key: "purge-all",
            isOff: !total,
          }),
        ),
      ),
      table({
        caption: "Dead jobs, newest first",
        columns: columns(),
        rows: pager.rows,
        key: (job) => job.id,
        empty: emptyText(pager, isFiltered ? "No dead job matches." : "No dead jobs."),
      }),
      pageControls(pager),
    );
  }

  function columns() {
    const choose = (job) => (event) => {
      if (event.target.checked) chosen.add(job.id);
      else chosen.delete(job.id);
      draw();
    };
    return [
      {
        title: "Job",
        cell: (job) =>
          h(
            "span",
            { class: "choice" },
            h("input", {
              type: "checkbox",
              checked: chosen.has(job.id),
              "aria-label": `Select ${visible(job.id)}`,
              on: { change: choose(job) },
            }),
            jobLink(job.id),
          ),
      },
      { title: "Type", cell: (job) => nameOf(job.name) },
      {
        title: "Error",
        class: "wide",
        cell: (job) => [
          errorText(job.error),
          !job.is_readable && h("span", { class: "badge bad" }, "cannot be retried"),
        ],
      },
      { title: "Priority", cell: (job) => job.priority },
      { title: "Attempts", isNumber: true, cell: (job) => job.attempts },
      { title: "Died", class: "nowrap", cell: (job) => ageOf(job.died_at) },
    ];
  }

  draw();
  follow(pager, signal);
}
