// Elements as values. `h` describes what a view is to look like, and `render` changes the document
// to that: as little as it can, so that focus, selection, scroll positions and what was typed
// survive each update. All text becomes text nodes: whatever a payload has in it is never markup,
// and what would be invisible or turn other text around is shown as an escape.

import { visible, visibleLines } from "./visible.js";

const SVG = "http://www.w3.org/2000/svg";

/** What `render` has put into an element. */
const rendered = new WeakMap();

/**
 * Describe an element.
 *
 * Attributes are set as they are; null, undefined and false leave one out, true sets it empty.
 * Some are special:
 *   key       tells apart siblings that may be added, removed or reordered; unique among them
 *   on        handlers: {click: event => …}
 *   value, checked, open, indeterminate
 *             properties, set when they differ from the last rendering: a view that repeats the
 *             same value leaves alone what the user has typed since
 *   style     CSS properties: {width: "40%"}
 *   mounted   called with the node when it has been created
 *
 * Children are descriptions, texts, numbers, and lists of them; null, undefined and false are
 * nothing.
 */
export function h(tag, attributes, ...children) {
  const { key, on = {}, style = {}, mounted, ...rest } = attributes ?? {};
  return { tag, key, on, style, mounted, attributes: rest, children: flat(children) };
}

/** Make the content of an element what is described. */
export function render(container, ...children) {
  const after = flat(children);
  const focused = document.activeElement;
  patchChildren(container, rendered.get(container) ?? [], after);
  rendered.set(container, after);
  // An element that was moved among its siblings has lost the focus.
  if (container.contains(focused)) focused.focus({ preventScroll: true });
}

/** Attributes that are read like text. */
const TEXTS = new Set(["title", "aria-label"]);

const PROPERTIES = new Set(["value", "checked", "open", "indeterminate"]);

function flat(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false && child !== "")
    .map((child) =>
      typeof child === "object" ? child : { text: visibleLines(String(child)) },
    );
}

function create(description, parent) {
  if (description.text !== undefined) return document.createTextNode(description.text);
  const isSvg =
    description.tag === "svg" ||
    (parent.namespaceURI === SVG && parent.localName !== "foreignObject");
  const node = isSvg
    ? document.createElementNS(SVG, description.tag)
    : document.createElement(description.tag);
  // Children first: a select can only have the value of an option that exists.
  patchChildren(node, [], description.children);
  patchNode(node, { on: {}, style: {}, attributes: {} }, description);
  description.mounted?.(node);
  return node;
}

function patchNode(node, before, after) {
  for (const name of Object.keys(before.attributes)) {
    if (!(name in after.attributes)) setAttribute(node, name, null);
  }
  for (const [name, value] of Object.entries(after.attributes)) {
    if (before.attributes[name] !== value) setAttribute(node, name, value);
  }
  for (const type of Object.keys(before.on)) if (!(type in after.on)) node[`on${type}`] = null;
  for (const [type, handler] of Object.entries(after.on)) node[`on${type}`] = handler;
  for (const name of Object.keys(before.style)) {
    if (!(name in after.style)) node.style.removeProperty(name);
  }
  for (const [name, value] of Object.entries(after.style)) {
    if (before.style[name] !== value) node.style.setProperty(name, value);
  }
}

function setAttribute(node, name, value) {
  const isAbsent = value === null || value === undefined || value === false;
  if (PROPERTIES.has(name)) node[name] = isAbsent ? (name === "value" ? "" : false) : value;
  else if (isAbsent) node.removeAttribute(name);
  else if (TEXTS.has(name)) node.setAttribute(name, visible(String(value)));
  else node.setAttribute(name, value === true ? "" : value);
}

function patchChildren(parent, before, after) {
  const reused = match(before, after);
  const kept = new Set(reused.values());
  // Removed first, so that those which keep their order are not moved: moving loses the focus.
  for (const old of before) if (!kept.has(old)) old.node.remove();
  let place = parent.firstChild;
  for (const description of after) {
    const old = reused.get(description);
    const node = old ? update(old, description) : create(description, parent);
    description.node = node;
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
}

function update(old, description) {
  const { node } = old;
  if (description === old) return node;
  if (description.text !== undefined) {
    if (old.text !== description.text) node.data = description.text;
    return node;
  }
  patchChildren(node, old.children, description.children);
  patchNode(node, old, description);
  return node;
}

/** Which earlier sibling becomes which: by key, or in order those of the same kind. */
function match(before, after) {
  const byKey = new Map();
  const others = [];
  for (const old of before) {
    if (old.key === undefined) others.push(old);
    else byKey.set(old.key, old);
  }
  const reused = new Map();
  let next = 0;
  for (const description of after) {
    if (description.key !== undefined) {
      const old = byKey.get(description.key);
      if (old?.tag === description.tag) reused.set(description, old);
      byKey.delete(description.key);
      continue;
    }
    const found = others.findIndex((old, at) => at >= next && old.tag === description.tag);
    if (found >= 0) {
      reused.set(description, others[found]);
      next = found + 1;
    }
  }
  return reused;
}
