// One job: its state, payload, result and runs, and the actions that it allows.

import { getText, send } from "../api.js";
import { confirm, say } from "../dialogs.js";
import { h, render } from "../dom.js";
import { duration, UNKNOWN } from "../format.js";
import { member } from "../json.js";
import { events, keepCurrent } from "../live.js";
import { ageOf, section, stateBadge, table } from "../parts.js";
import { go, link } from "../router.js";
import { now } from "../time.js";
import { visible } from "../visible.js";
import { actionButton, everySecond } from "./actions.js";
import { errorText, nameOf, progress } from "./cells.js";
import { commandSection } from "./job_commands.js";
import { textBlocks } from "./text_blocks.js";

export const title = "Job";

/** A finished job of this size is not read again: it will hardly change, and takes long. */
const LARGE = 300_000;

export function show({ root, args, signal }) {
  const path = `jobs/${encodeURIComponent(args[0] ?? "")}`;
  let size = 0;
  let job = null;
  let raw = {};
  let commands = null;
  let problem = "";
  const blocks = textBlocks(draw);

  async function load() {
    if (job && isFinished(job) && size > LARGE) return;
    const text = await getText(path, { signal });
    size = text.length;
    job = checked(JSON.parse(text));
    raw = { payload: member(text, "payload") ?? "null", result: member(text, "result") ?? "null" };
    // Not with each drawing: they have the whole payload in them.
    commands = job.name !== null && commandSection(job, raw.payload);
    problem = "";
    draw();
  }

  function failed(error) {
    problem = error.detail;
    draw();
  }

  function draw() {
    render(
      root,
      problem && h("p", { class: "error", role: "alert", key: "problem" }, problem),
      job === null ? !problem && h("p", { class: "muted" }, "Loading…") : content(),
    );
  }

  const reload = keepCurrent(signal, load, { every: 2, failed });

  function changed() {
    size = 0;
    return reload();
  }

  function content() {
    const { payload, result } = raw;
    return [
      heading(job, path, changed),
      h("div", { class: "job-top", key: "top" }, facts(job), failure(job, blocks)),
      runs(job),
      section("Payload", {}, blocks.json("Payload", payload, "payload.json")),
      job.status === "completed" &&
        section("Result", {}, blocks.json("Result", result, "result.json")),
      commands,
    ];
  }

  events.addEventListener("job", ({ detail }) => detail.id === args[0] && changed(), { signal });
  draw();
  everySecond(signal, () => job?.status === "processing" && draw());
}

const KINDS = {
  name: "string",
  priority: "string",
  error: "string",
  attempts: "number",
  max_retries: "number",
};

/** Other producers may have written anything into these fields. */
function checked(job) {
  const unknown = Object.entries(KINDS).filter(([field, kind]) => typeof job[field] !== kind);
  return { ...job, ...Object.fromEntries(unknown.map(([field]) => [field, null])) };
}

const copyOf = (job) => link("enqueue", [], { from: job.id });

const CANCEL = {
  title: "Cancel this job?",
  content: h("p", null, "It will be deleted and will not run."),
  action: "Cancel the job",
  isDangerous: true,
};

function heading(job, path, changed) {
  const change = async (method, action, words) => {
    await send(method, path + action);
    say(words);
    await changed();
  };
  const cancel = async () => {
    if (!(await confirm(CANCEL))) return;
    await send("DELETE", path);
    say("The job is cancelled.");
    go("jobs");
  };
  const isWaiting = job.status === "pending" || job.status === "scheduled";
  return h(
    "div",
    { class: "job-head", key: "head" },
    stateBadge(job.status),
    h("code", { class: "mono value" }, visible(job.id)),
    h(
      "div",
      { class: "actions" },
      isWaiting && actionButton("Cancel", cancel, { kind: "danger", key: "cancel" }),
      job.name !== null && h("a", { class: "button", href: copyOf(job) }, "Enqueue a copy…"),
      job.status === "failed" &&
        actionButton("Retry", () => change("POST", "/retry", "The job is enqueued again."), {
          kind: "primary",
          key: "retry",
          title: "Enqueue this job again, with all its attempts",
        }),
    ),
  );
}

function facts(job) {
  const { max_retries: retries } = job;
  const rows = [
    ["Type", h("a", { href: link("jobs", [], { type: job.name }) }, nameOf(job.name))],
    ["Priority", job.priority ?? UNKNOWN],
    ["Attempts", `${job.attempts ?? UNKNOWN}${retries === null ? "" : ` of ${retries + 1}`}`],
    ["Created", since(job.created_at)],
    job.due_at && ["Due", since(job.due_at)],
    job.worker_id && [
      "Worker",
      h("a", { href: link("workers", [], { text: job.worker_id }) }, nameOf(job.worker_id)),
    ],
    job.started_at && ["Started", since(job.started_at)],
    job.status === "processing" && ["Running for", progress(job.started_at, job.timeout_ms, now())],
    job.completed_at && ["Finished", since(job.completed_at)],
    job.duration_ms !== null && ["Took", duration(job.duration_ms)],
  ].filter(Boolean);
  return section(
    "Facts",
    {},
    h(
      "dl",
      { class: "facts panel-body" },
      rows.map(([name, value]) => [
        h("dt", { key: `${name}-name` }, name),
        h("dd", { key: name }, value),
      ]),
    ),
  );
}

function since(timestamp) {
  if (!timestamp) return UNKNOWN;
  const isAhead = Date.parse(timestamp) > now();
  return [isAhead ? "in " : "", ageOf(timestamp), isAhead ? "" : " ago"];
}

/** Why the latest run failed, if one did. */
function failure(job, blocks) {
  const { type, message, traceback } = job.failure ?? {};
  const error = [type, message].filter(Boolean).join(": ") || job.error;
  if (!error || job.status === "completed") return null;
  return section(
    job.status === "failed" ? "Why it died" : "Last error",
    {},
    h(
      "div",
      { class: "panel-body" },
      blocks.text("Error", error, "error.txt"),
      traceback && blocks.text("Traceback", traceback, "traceback.txt", "lines"),
    ),
  );
}

const RUN_COLUMNS = [
  { title: "Attempt", isNumber: true, cell: (run) => run.attempt },
  { title: "Outcome", cell: (run) => stateBadge(run.outcome) },
  { title: "Worker", cell: (run) => nameOf(run.worker_id) },
  { title: "Started", class: "nowrap", cell: (run) => since(run.started_at) },
  { title: "Took", isNumber: true, cell: (run) => duration(run.duration_ms) },
  { title: "Error", class: "wide", cell: (run) => errorText(run.error) },
];

function runs(job) {
  const rows = job.runs.map((run, at) => ({ ...run, at })).reverse();
  if (rows.length === 0) return null;
  return section(
    "Runs",
    {},
    table({ caption: "Runs, latest first", columns: RUN_COLUMNS, rows, key: (run) => run.at }),
  );
}

function isFinished(job) {
  return job.status === "completed" || job.status === "failed";
}
