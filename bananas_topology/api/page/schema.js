// JSON Schemas as forms understand them: those that workers publish of their payload types. Pure.
//
// A draft is what a form holds of a value: texts for everything that is typed or chosen, "" if
// nothing is; true or false for a check box; an object or a list of drafts; null for no object.

/** A value that no form for its schema can show, or a draft that is not a value. */
export class Misfit extends Error {}

const LEAVES = new Set(["string", "number", "integer", "boolean"]);

/**
 * What kind of field a schema is to have: "object", "list", "choice", "string", "number",
 * "integer", "boolean", or "json" for all else; with the schema, its references followed.
 */
export function kindOf(schema, root) {
  const { resolved, isNullable } = resolve(schema, root);
  return { kind: kind(resolved), schema: resolved, isNullable };
}

function kind(schema) {
  if ("const" in schema || Array.isArray(schema.enum)) return "choice";
  if (schema.type === "object") return schema.properties ? "object" : "json";
  if (schema.type === "array") return schema.items && !schema.prefixItems ? "list" : "json";
  return LEAVES.has(schema.type) ? schema.type : "json";
}

/** The values of a choice, as JSON. */
export function options(schema) {
  return ("const" in schema ? [schema.const] : schema.enum).map((value) => JSON.stringify(value));
}

/** The draft of a new value: with the defaults. */
export function blank(schema, root, isRequired = true) {
  const found = kindOf(schema, root);
  const { default: standard } = found.schema;
  if (standard !== undefined && (standard !== null || found.isNullable)) {
    return draftOf(schema, root, standard);
  }
  if (!isRequired) return empty(found);
  if (found.kind === "object" && !found.isNullable) return blankObject(found.schema, root);
  if (found.kind === "boolean" && !found.isNullable) return false;
  if (found.kind === "choice") return options(found.schema)[0];
  if (found.kind === "json") return { object: "{}", array: "[]" }[found.schema.type] ?? "";
  return empty(found);
}

function blankObject(schema, root) {
  const required = new Set(schema.required);
  const fields = Object.entries(schema.properties);
  return Object.fromEntries(
    fields.map(([name, field]) => [name, blank(field, root, required.has(name))]),
  );
}

/**
 * The draft of a JSON text.
 *
 * Throws Misfit if it is not JSON, or if a form for the schema would lose some of it.
 */
export function draftOfText(schema, text) {
  let isRounded = false;
  const value = parsed(text, (_, each) => {
    isRounded ||= Number.isInteger(each) && !Number.isSafeInteger(each);
    return each;
  });
  fitting(!isRounded);
  return draftOf(schema, schema, value);
}

function draftOf(schema, root, value) {
  const found = kindOf(schema, root);
  if (found.kind === "json") return JSON.stringify(value, null, 2);
  if (value === null) return fitting(found.isNullable, empty(found));
  if (found.kind === "choice") {
    const text = JSON.stringify(value);
    return fitting(options(found.schema).includes(text), text);
  }
  if (found.kind === "object") return objectDraft(found.schema, root, value);
  if (found.kind === "list") {
    fitting(Array.isArray(value));
    return value.map((item) => draftOf(found.schema.items, root, item));
  }
  if (found.kind === "boolean") return fitting(typeof value === "boolean", value);
  if (found.kind === "string") return fitting(typeof value === "string", value);
  return fitting(typeof value === "number", JSON.stringify(value));
}

function empty({ kind }) {
  return kind === "object" ? null : kind === "list" ? [] : "";
}

function objectDraft(schema, root, value) {
  fitting(typeof value === "object" && !Array.isArray(value));
  fitting(Object.keys(value).every((name) => Object.hasOwn(schema.properties, name)));
  const fields = Object.entries(schema.properties);
  return Object.fromEntries(
    fields.map(([name, field]) => [
      name,
      Object.hasOwn(value, name) ? draftOf(field, root, value[name]) : blank(field, root, false),
    ]),
  );
}

function fitting(condition, value) {
  if (!condition) throw new Misfit("The form cannot show all of this payload: edit it as JSON.");
  return value;
}

/**
 * A draft as JSON; undefined if it is to be left out.
 *
 * Throws Misfit if a text in it is not JSON; numbers keep all their digits.
 */
export function jsonOf(schema, root, draft, isRequired = true) {
  const found = kindOf(schema, root);
  if (draft === "" || draft === null) {
    if (!isRequired) return undefined;
    return found.isNullable ? "null" : found.kind === "string" ? '""' : undefined;
  }
  if (found.kind === "object") return objectJson(found.schema, root, draft);
  if (found.kind === "list") {
    const items = draft.map((item) => jsonOf(found.schema.items, root, item) ?? "null");
    return items.length || isRequired ? `[${items.join(",")}]` : undefined;
  }
  if (found.kind === "string") return JSON.stringify(draft);
  parsed(String(draft));
  return String(draft).trim();
}

function objectJson(schema, root, draft) {
  const required = new Set(schema.required);
  const members = Object.entries(schema.properties)
    .map(([name, field]) => [name, jsonOf(field, root, draft[name], required.has(name))])
    .filter(([, text]) => text !== undefined)
    .map(([name, text]) => `${JSON.stringify(name)}:${text}`);
  return `{${members.join(",")}}`;
}

/** The value of a text. Throws Misfit if it is not JSON. */
export function parsed(text, reviver) {
  try {
    return JSON.parse(text, reviver);
  } catch (error) {
    throw new Misfit(`This is not valid JSON: ${error.message}`);
  }
}

/** Follow references; "X or null" is X that may be null. */
function resolve(schema, root) {
  let resolved = schema ?? {};
  let isNullable = false;
  // As many steps as any sound schema takes: a reference to itself must not hang the page.
  for (let steps = 0; steps < 20; steps += 1) {
    const { $ref: reference, allOf, anyOf, oneOf, ...rest } = resolved;
    const only = allOf?.length === 1 ? allOf : alternatives(anyOf ?? oneOf);
    if (typeof reference === "string") resolved = { ...target(reference, root), ...rest };
    else if (only?.length === 1) {
      isNullable ||= !allOf;
      resolved = { ...only[0], ...rest };
    } else break;
  }
  return { resolved, isNullable };
}

/** The alternatives besides null, if null is one of them. */
function alternatives(schemas) {
  const others = schemas?.filter(({ type }) => type !== "null");
  return others?.length < schemas?.length ? others : undefined;
}

function target(reference, root) {
  const path = reference.replace(/^#\/?/, "").split("/").filter(Boolean);
  return (
    path.reduce((at, name) => at?.[name.replaceAll("~1", "/").replaceAll("~0", "~")], root) ?? {}
  );
}
