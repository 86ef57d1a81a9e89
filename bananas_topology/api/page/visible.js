// Texts of jobs, for display: what is invisible, or changes how other text looks, is escaped.
// Pure.

/** Control and format characters, and halves of characters; not what joins letters or emoji. */
const HIDDEN = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** A text of one line, with escapes such as \u202e. */
export function visible(text) {
  return text.replace(HIDDEN, escaped);
}

/** A text of several lines, with escapes but for line ends and tabs. */
export function visibleLines(text) {
  const unified = text.replaceAll("\r\n", "\n");
  return unified.replace(HIDDEN, (found) =>
    found === "\n" || found === "\t" ? found : escaped(found),
  );
}

/** The beginning of a text, in one line, with escapes. */
export function shortened(text, length = 160) {
  const start = beginning(text, length).replace(/\s+/g, " ").trim();
  return visible(start) + (text.length > length ? "…" : "");
}

/** The beginning of a text; a character of two halves is not cut in the middle. */
export function beginning(text, length) {
  return text.length > length ? text.slice(0, length).replace(/[\ud800-\udbff]$/, "") : text;
}

function escaped(found) {
  return Array.from({ length: found.length }, (_, at) => unit(found.charCodeAt(at))).join("");
}

function unit(code) {
  return `\\u${code.toString(16).padStart(4, "0")}`;
}
