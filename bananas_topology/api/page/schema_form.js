// A form for a JSON Schema. The draft in it (see schema.js) is changed in place.

import { h } from "./dom.js";
import { button, field } from "./parts.js";
import { blank, kindOf, options } from "./schema.js";

/**
 * The fields of one value.
 *
 *   schema, root  the schema, and the document that its references lead into
 *   draft         what the form holds
 *   path          name of the input, such as "payload.address"
 *   label         as it is shown; null for an object that needs none
 *   isRequired    whether the value may be left out
 *   errors        what is wrong, by path
 *   set           called with the new draft
 *   changed       called after a draft inside of this one has changed
 */
export function schemaFields(form) {
  const found = kindOf(form.schema, form.root);
  if (found.kind === "object") return objectFields({ ...form, ...found });
  if (found.kind === "list") return listFields({ ...form, ...found });
  const note = form.isRequired && !found.isNullable ? "" : " (optional)";
  return field({
    key: form.path,
    label: [h("code", null, form.label ?? "payload"), note],
    hint: hintOf(found),
    error: form.errors[form.path],
    input: input({ ...form, ...found, isOptional: note !== "" }),
  });
}

function objectFields(form) {
  const { schema, draft, label, path } = form;
  if (draft === null) {
    const add = () => form.set(blank(schema, form.root));
    return h("div", { class: "row wide", key: path }, smallButton(`Add ${label}`, add), optional());
  }
  const required = new Set(schema.required);
  const fields = Object.entries(schema.properties).map(([name, child]) =>
    schemaFields({
      ...form,
      schema: child,
      draft: draft[name],
      path: `${path}.${name}`,
      label: name,
      isRequired: required.has(name),
      set: (value) => {
        draft[name] = value;
        form.changed();
      },
    }),
  );
  const about = schema.description && h("p", { class: "hint wide" }, schema.description);
  // The whole payload has its heading already.
  if (label === null) return h("div", { class: "fields", key: path }, about, fields);
  const isOptional = !form.isRequired || form.isNullable;
  const remove = () => form.set(null);
  return h(
    "fieldset",
    { key: path, class: "fields" },
    h("legend", null, h("code", null, label)),
    about,
    fields,
    isOptional && h("div", { class: "wide" }, smallButton(`Remove ${label}`, remove)),
  );
}

function listFields(form) {
  const { schema, draft, label, path } = form;
  const items = draft.map((item, at) =>
    h(
      "div",
      { class: "item", key: at },
      schemaFields({
        ...form,
        schema: schema.items,
        draft: item,
        path: `${path}.${at}`,
        label: `${label}[${at}]`,
        isRequired: true,
        set: (value) => {
          draft[at] = value;
          form.changed();
        },
      }),
      smallButton("Remove", () => form.set(draft.toSpliced(at, 1)), `Remove ${label}[${at}]`),
    ),
  );
  const add = () => form.set([...draft, blank(schema.items, form.root)]);
  return h(
    "fieldset",
    { key: path },
    h("legend", null, h("code", null, label)),
    schema.description && h("p", { class: "hint" }, schema.description),
    items,
    h(
      "div",
      { class: "row" },
      smallButton("Add an item", add, `Add an item to ${label}`),
      draft.length === 0 && optional("empty"),
    ),
  );
}

function input(form) {
  const { kind, schema, draft, path } = form;
  const common = { name: path, on: { input: (event) => form.set(event.target.value) } };
  if (kind === "choice") return select(form, common, options(schema));
  if (kind === "boolean" && form.isOptional && !("default" in schema)) {
    return select(form, common, ["true", "false"]);
  }
  if (kind === "boolean") {
    const set = (event) => form.set(event.target.checked);
    return h("input", { ...common, type: "checkbox", checked: draft === true, on: { input: set } });
  }
  if (kind === "json") {
    return h("textarea", {
      ...common,
      rows: 4,
      spellcheck: "false",
      required: !form.isOptional,
      value: draft,
    });
  }
  if (kind !== "string") {
    return h("input", {
      ...common,
      type: "number",
      step: kind === "integer" ? 1 : "any",
      min: schema.minimum,
      max: schema.maximum,
      required: !form.isOptional,
      value: draft,
    });
  }
  const { pattern, minLength, maxLength } = schema;
  return h("input", {
    ...common,
    pattern: anywhere(pattern),
    minlength: minLength,
    maxlength: maxLength,
    value: draft,
  });
}

function select({ draft, isOptional }, common, values) {
  return h(
    "select",
    { ...common, value: String(draft) },
    isOptional && h("option", { key: "", value: "" }, "not set"),
    values.map((value) => h("option", { key: `=${value}`, value }, value.replace(/^"|"$/g, ""))),
  );
}

/** What a value has to be, in words. */
function hintOf({ kind, schema }) {
  const { description, format, minimum, maximum, pattern } = schema;
  const limits = [
    minimum !== undefined && `at least ${minimum}`,
    maximum !== undefined && `at most ${maximum}`,
    pattern && `matching ${pattern}`,
    kind === "json" && "as JSON",
    format,
  ].filter(Boolean);
  return [description, limits.join(", ")].filter(Boolean).join(" · ");
}

/** A pattern of an input is for the whole text, one of a schema for some of it. */
function anywhere(pattern) {
  return pattern && `[\\s\\S]*(?:${pattern})[\\s\\S]*`;
}

function smallButton(text, click, label = null) {
  return button(text, click, { kind: "small", "aria-label": label });
}

function optional(text = "optional") {
  return h("span", { class: "muted" }, text);
}
