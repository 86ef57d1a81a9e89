// The schedules: when each ran and will run, and a button to run one now.

import { get, send } from "../api.js";
import { confirm, say } from "../dialogs.js";
import { h, render } from "../dom.js";
import { moment, quantity, relative } from "../format.js";
import { keepCurrent } from "../live.js";
import { section, table } from "../parts.js";
import { link } from "../router.js";
import { shortened } from "../visible.js";
import { actionButton } from "./actions.js";

export const title = "Schedules";

/** Texts of payloads that are longer are cut off: the whole one is in the jobs. */
const PAYLOAD_LENGTH = 200;

export function show({ root, signal }) {
  const load = async () => {
    const read = await get("schedules", {}, { signal });
    render(root, view(read, run));
  };
  const failed = (error) => render(root, h("p", { class: "error", role: "alert" }, error.detail));
  const reload = keepCurrent(signal, load, { every: 5, failed });

  async function run({ name, job, priority }) {
    const content = h(
      "p",
      null,
      "This enqueues a job of the type ",
      h("code", null, job),
      ` at the priority ${priority}. The next run of the schedule stays as it is.`,
    );
    if (!(await confirm({ title: `Run ${name} now?`, content, action: "Run now" }))) return;
    try {
      const { id } = await send("POST", `schedules/${encodeURIComponent(name)}/run`, undefined, {
        signal,
      });
      say(`Enqueued ${job} as ${id}.`, { href: link("job", [id]) });
    } finally {
      reload();
    }
  }
}

function view({ schedules, schedulers }, run) {
  const isIdle = schedulers === 0 && schedules.length > 0;
  return [
    isIdle &&
      h(
        "p",
        { class: "notice bad", key: "idle", role: "alert" },
        "No live worker runs schedules, so none of these fires. Start a scheduler.",
      ),
    section(
      "Schedules",
      { tools: h("span", { class: "muted" }, quantity(schedulers, "scheduler")) },
      table({
        caption: "Schedules, with their next and last runs",
        key: ({ name }) => name,
        rows: schedules,
        empty: "No schedules. Define them in the topology, under schedules.",
        columns: [
          { title: "Name", cell: ({ name }) => name },
          {
            title: "Job type",
            cell: ({ job }) => h("a", { href: link("jobs", [], { type: job }) }, job),
          },
          { title: "When", cell: when },
          { title: "Next run", class: "nowrap", cell: ({ next_at: at }) => timeOf(at) },
          { title: "Last run", class: "nowrap", cell: ({ last_at: at }) => timeOf(at) },
          { title: "Priority", cell: ({ priority }) => priority },
          {
            title: "Payload",
            class: "payload",
            cell: ({ payload }) =>
              h("code", { class: "mono" }, shortened(JSON.stringify(payload), PAYLOAD_LENGTH)),
          },
          {
            title: h("span", { class: "hidden" }, "Actions"),
            class: "number",
            cell: (schedule) => runButton(schedule, run),
          },
        ],
      }),
    ),
  ];
}

function when({ cron, timezone }) {
  return [h("code", { class: "nowrap" }, cron), " ", h("span", { class: "muted" }, timezone)];
}

function timeOf(at) {
  if (!at) return h("span", { class: "muted" }, "not yet");
  return h(
    "time",
    { datetime: at, title: moment(at) },
    relative(at),
    h("span", { class: "below muted" }, moment(at)),
  );
}

function runButton(schedule, run) {
  return actionButton("Run now", () => run(schedule), {
    kind: "small",
    "aria-label": `Run now: ${schedule.name}`,
  });
}
