// Light or dark: as the system is set, unless the reader has chosen. A module of its own, which is
// loaded first, so that the page does not flash in the other one.

const KEY = "bananas-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };

/** The reader's choice: "auto", "light" or "dark". */
export function theme() {
  return localStorage.getItem(KEY) ?? "auto";
}

/** Choose the next theme; returns it. */
export function switchTheme() {
  const chosen = NEXT[theme()];
  if (chosen === "auto") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, chosen);
  apply();
  return chosen;
}

function apply() {
  const chosen = theme();
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

apply();
