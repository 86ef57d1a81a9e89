// JSON as text. JSON.parse rounds large integers, and a job must be sent again as it was. Pure.

import { beginning, visible } from "./visible.js";

/** The text of a member of a JSON object, as it stands; undefined if the object has none. */
export function member(text, name) {
  let depth = 0;
  let key = null;
  let start = -1;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') {
      const end = endOfString(text, at);
      if (depth === 1 && start < 0) key = JSON.parse(text.slice(at, end));
      at = end - 1;
    } else if (character === ":" && depth === 1) {
      start = at + 1;
    } else if (depth === 1 && (character === "," || character === "}")) {
      if (key === name && start >= 0) return text.slice(start, at).trim();
      start = -1;
      depth -= character === "}" ? 1 : 0;
    } else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
  }
  return undefined;
}

/**
 * Lay out JSON in lines, with characters that are invisible as the escapes that JSON has for them.
 *
 * Stops once there are `limit` characters: `isCut` tells whether something is missing.
 */
export function pretty(text, limit = Infinity) {
  const parts = [];
  let length = 0;
  let depth = 0;
  const add = (part) => {
    parts.push(part);
    length += part.length;
  };
  const line = () => add(`\n${"  ".repeat(depth)}`);
  let at = 0;
  while (at < text.length && length < limit) {
    const character = text[at];
    const end = endOfToken(text, at);
    if (character === "{" || character === "[") {
      const next = skipSpace(text, end);
      if (text[next] === "}" || text[next] === "]") {
        add(character + text[next]);
        at = next + 1;
        continue;
      }
      depth++;
      add(character);
      line();
    } else if (character === "}" || character === "]") {
      depth--;
      line();
      add(character);
    } else if (character === ",") {
      add(character);
      line();
    } else if (character === ":") add(": ");
    // Not all of a long string, of which only the beginning is shown: one character more.
    else if (!isSpace(character)) add(visible(text.slice(at, Math.min(end, at + limit + 2))));
    at = end;
  }
  const whole = parts.join("");
  return { text: beginning(whole, limit), isCut: at < text.length || whole.length > limit };
}

function endOfToken(text, start) {
  if (text[start] === '"') return endOfString(text, start);
  let end = start + 1;
  if (isScalar(text[start])) while (end < text.length && isScalar(text[end])) end++;
  return end;
}

/** Where a string ends. Not by a regular expression: megabytes would exhaust its stack. */
function endOfString(text, start) {
  for (let at = start + 1; ; at++) {
    at = text.indexOf('"', at);
    if (at < 0) return text.length;
    let backslashes = 0;
    while (text[at - 1 - backslashes] === "\\") backslashes++;
    if (backslashes % 2 === 0) return at + 1;
  }
}

function skipSpace(text, at) {
  while (at < text.length && isSpace(text[at])) at++;
  return at;
}

function isSpace(character) {
  return character === " " || character === "\n" || character === "\t" || character === "\r";
}

function isScalar(character) {
  return /[-+.\w]/.test(character);
}
