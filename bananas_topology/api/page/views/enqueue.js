// A form that enqueues a job: made from the payload type of its handler, which workers publish.
//
// Parameters: `type` chooses the job type; `from` is the id of a job to begin with.

import { ApiError, get, getText, send } from "../api.js";
import { say } from "../dialogs.js";
import { h, render } from "../dom.js";
import { bytes } from "../format.js";
import { member, pretty } from "../json.js";
import { field, section, segments } from "../parts.js";
import { link } from "../router.js";
import { blank, draftOfText, jsonOf, Misfit, parsed } from "../schema.js";
import { schemaFields } from "../schema_form.js";

export const title = "Enqueue a job";

/** A longer payload of another job is sent as it is: a field for text gets slow. */
const MAX_EDITED = 200_000;

const PRIORITIES = ["high", "normal", "low"];

/** Where the API says that the fault is: "… - at `$.delay`", or "delay: …". */
const PLACE = /at `\$\.(\w+)|^(id|delay|at|priority|name): /;

export async function show({ root, params, signal, replace }) {
  const { types } = await get("job-types", {}, { signal });
  const from = params.get("from");
  const form = new Form(types, from ? await original(from, signal) : { name: params.get("type") });

  function draw() {
    if (!signal.aborted) render(root, view(form, { draw, submit, choose }));
  }

  function choose(name) {
    form.choose(name);
    replace({ type: name });
    draw();
  }

  async function submit(event) {
    event.preventDefault();
    if (form.isSending || !form.check(event.target)) return draw();
    form.isSending = true;
    draw();
    try {
      form.enqueued = (await send("POST", "jobs", form.body(), { signal })).id;
      form.attempt = null;
      say(`Enqueued ${form.values.name}.`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      form.fail(error);
    } finally {
      form.isSending = false;
      draw();
    }
  }

  draw();
}

/** What a job was enqueued with; its payload as text, since that has all digits of numbers. */
async function original(id, signal) {
  const text = await getText(`jobs/${encodeURIComponent(id)}`, { signal });
  const { name, priority, max_retries: retries } = JSON.parse(text);
  return { name, priority, retries, payload: member(text, "payload") };
}

/** What the form holds. */
class Form {
  constructor(types, { name, payload, priority, retries }) {
    this.types = types;
    this.values = { priority: priority ?? "normal", id: "", delay: "", max_retries: retries ?? "" };
    this.isSending = false;
    this.choose(name ?? "", payload);
  }

  /** The type, if a worker handles it. */
  get type() {
    return this.types.find(({ name }) => name === this.values.name);
  }

  /** Take another type, and a payload for it if there is one, as JSON. */
  choose(name, payload) {
    this.values.name = name;
    this.edited();
    this.kept = payload?.length > MAX_EDITED ? payload : null;
    const schema = this.kept === null ? this.type?.schema : null;
    this.text = pretty(payload ?? "{}", MAX_EDITED).text;
    this.isJson = !schema || payload !== undefined;
    this.draft = this.isJson ? null : blank(schema, schema);
    if (schema && this.isJson) this.toForm();
  }

  /** Edit the payload by fields; says what is wrong if it does not fit them. */
  toForm() {
    const { schema } = this.type;
    delete this.errors.payload;
    try {
      this.draft = draftOfText(schema, this.text);
      this.isJson = false;
    } catch (error) {
      if (!(error instanceof Misfit)) throw error;
      this.errors.payload = error.message;
    }
  }

  /** Edit the payload as JSON; says what is wrong if a field is not JSON. */
  toJson() {
    try {
      this.text = pretty(this.payload() ?? "{}").text;
      this.isJson = true;
    } catch (error) {
      if (!(error instanceof Misfit)) throw error;
      this.errors.payload = error.message;
    }
  }

  /** The payload as JSON. Throws Misfit if it is none. */
  payload() {
    if (this.kept !== null) return this.kept;
    const schema = this.type?.schema;
    if (!this.isJson) return jsonOf(schema, schema, this.draft);
    if (this.text.trim() === "") return undefined;
    parsed(this.text);
    return this.text.trim();
  }

  /** A change makes another job: errors and the id of the last attempt are of the one before. */
  edited() {
    this.errors = {};
    this.isRefused = false;
    this.attempt = null;
    this.enqueued = null;
  }

  /** Check everything that can be checked here; what is wrong is in `errors`. */
  check(element) {
    this.errors = {};
    this.enqueued = null;
    for (const { name, validity, validationMessage } of element.elements) {
      if (name && validity && !validity.valid) this.errors[name] = validationMessage;
    }
    try {
      this.payload();
    } catch (error) {
      if (!(error instanceof Misfit)) throw error;
      this.errors.payload = error.message;
    }
    this.isRefused = Object.keys(this.errors).length > 0;
    return !this.isRefused;
  }

  /**
   * The body of the request, as text: the payload keeps its digits. An attempt has an id of its
   * own, so that the job is not enqueued twice if only the response was lost.
   */
  body() {
    this.attempt ??= this.values.id || newId();
    const { name, priority, delay, max_retries: retries } = this.values;
    const rest = { name, priority, id: this.attempt };
    if (delay) rest.delay = delay;
    if (retries !== "") rest.max_retries = Number(retries);
    const payload = this.payload();
    const text = JSON.stringify(rest);
    return payload === undefined ? text : `${text.slice(0, -1)},"payload":${payload}}`;
  }

  /** Show an error of the API beside what it is about. */
  fail({ detail }) {
    const [, at, before] = PLACE.exec(detail) ?? [];
    const place = at ?? before;
    this.isRefused = place in this.values;
    const reason = this.isRefused ? detail.replace(/^[\w ]+: /, "") : detail;
    this.errors = { [this.isRefused ? place : "general"]: reason };
  }
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function view(form, actions) {
  return h(
    "form",
    { class: "enqueue", novalidate: true, on: { submit: actions.submit } },
    section("Job", {}, h("div", { class: "panel-body" }, jobFields(form, actions))),
    section(
      "Payload",
      { tools: modes(form, actions) },
      h("div", { class: "panel-body" }, payloadFields(form, actions)),
    ),
    h(
      "div",
      { class: "row" },
      h("button", { class: "button primary", disabled: form.isSending }, "Enqueue"),
      outcome(form),
    ),
  );
}

function outcome({ errors, isRefused, enqueued, values }) {
  const fault = errors.general ?? (isRefused && "Not enqueued: see the fields above.");
  if (fault) return h("p", { class: "error", role: "alert" }, fault);
  if (!enqueued) return null;
  return h(
    "p",
    null,
    `Enqueued ${values.name} as `,
    h("a", { href: link("job", [enqueued]) }, enqueued),
  );
}

function jobFields(form, { draw, choose }) {
  const text = (name, more) =>
    h("input", {
      name,
      value: form.values[name],
      ...more,
      on: {
        input: (event) => {
          form.edited();
          form.values[name] = event.target.value;
          draw();
        },
      },
    });
  const { errors, type, values } = form;
  return [
    field({
      label: "Job type",
      error: errors.name,
      hint: type
        ? `runs in ${type.pools.join(", ")}`
        : values.name && "no live worker handles this type",
      input: [
        h("input", {
          name: "name",
          list: "types",
          required: true,
          autocomplete: "off",
          value: values.name,
          "data-shortcut": "/",
          on: { input: (event) => choose(event.target.value) },
        }),
        h(
          "datalist",
          { id: "types" },
          form.types.map(({ name }) => h("option", { key: name, value: name })),
        ),
      ],
    }),
    h(
      "div",
      { class: "field-row" },
      field({
        label: "Priority",
        error: errors.priority,
        input: h(
          "select",
          {
            name: "priority",
            value: values.priority,
            on: {
              change: (event) => {
                form.edited();
                values.priority = event.target.value;
              },
            },
          },
          PRIORITIES.map((each) => h("option", { key: each, value: each }, each)),
        ),
      }),
      field({
        label: "Delay (optional)",
        hint: "such as 30s, 5m or 1h30m",
        error: errors.delay,
        input: text("delay"),
      }),
      field({
        label: "Retries (optional)",
        hint: "as its worker is set",
        error: errors.max_retries,
        input: text("max_retries", { inputmode: "numeric", pattern: "\\d+", title: "a number" }),
      }),
      field({
        label: "Id (optional)",
        hint: "a job that exists is left as it is",
        error: errors.id,
        input: text("id", { autocomplete: "off" }),
      }),
    ),
  ];
}

function modes(form, { draw }) {
  if (!form.type?.schema || form.kept !== null) return null;
  const choose = (isJson) => {
    if (isJson === form.isJson) return;
    if (isJson) form.toJson();
    else form.toForm();
    draw();
  };
  return segments(
    "Edit the payload as",
    [
      [false, "Form"],
      [true, "JSON"],
    ],
    form.isJson,
    choose,
  );
}

function payloadFields(form, { draw }) {
  const { errors, kept } = form;
  if (kept !== null)
    return h("p", { class: "muted" }, `About ${bytes(kept.length)}, sent unchanged.`);
  const schema = form.type?.schema;
  const changed = () => {
    form.edited();
    draw();
  };
  if (!form.isJson) {
    const set = (draft) => {
      form.draft = draft;
      changed();
    };
    return [
      errors.payload && h("p", { class: "error" }, errors.payload),
      schemaFields({
        schema,
        root: schema,
        draft: form.draft,
        path: "payload",
        label: null,
        isRequired: true,
        errors,
        set,
        changed,
      }),
    ];
  }
  const edit = (event) => {
    form.text = event.target.value;
    changed();
  };
  return field({
    label: "JSON",
    error: errors.payload,
    hint: schema
      ? null
      : "The handler accepts any JSON, or no live worker has published its schema.",
    input: h("textarea", {
      name: "payload",
      rows: 14,
      spellcheck: "false",
      value: form.text,
      on: { input: edit },
    }),
  });
}
