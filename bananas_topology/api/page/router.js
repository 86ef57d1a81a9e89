// Which view is shown: the part of the address behind #, such as #/jobs?state=failed.
//
// A view is a module in views/ with
//   title   the heading of the page, and its name in the browser's tab
//   show    a function that fills an element, and keeps it current; it is called with
//     root      the element, empty: use `render(root, …)` of dom.js
//     args      the rest of the path, decoded: ["ID"] for #/jobs/ID
//     params    a URLSearchParams of what follows the ?
//     signal    aborted when another view is shown: for requests, listeners and `keepCurrent`
//     replace   changes the parameters in the address, given as an object, and nothing else
// An ApiError that `show` throws is shown in place of the view.

import { ApiError, withQuery } from "./api.js";
import { h, render } from "./dom.js";

/**
 * The views by the first part of their path. Those with a `label` are in the navigation, the others
 * belong to the one that they are `within`.
 */
export const ROUTES = {
  "": { label: "Overview", key: "o", load: () => import("./views/overview.js") },
  jobs: { label: "Jobs", key: "j", load: () => import("./views/jobs.js") },
  job: { within: "jobs", load: () => import("./views/job.js") },
  dead: { label: "Dead", key: "d", load: () => import("./views/dead.js") },
  workers: { label: "Workers", key: "w", load: () => import("./views/workers.js") },
  schedules: { label: "Schedules", key: "s", load: () => import("./views/schedules.js") },
  enqueue: { label: "Enqueue", key: "e", load: () => import("./views/enqueue.js") },
};

let shown = new AbortController();

/** The address of a view: link("jobs", ["ID"], {tab: "runs"}). Empty parameters are left out. */
export function link(name, args = [], params = {}) {
  const path = [name, ...args].map(encodeURIComponent).join("/");
  return withQuery(`#/${path}`, params);
}

/** Show a view; anew, if it is shown already. */
export function go(name, args, params) {
  const address = link(name, args, params);
  if (location.hash === address) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = address;
}

/** Show the view of the address, now and whenever that changes. */
export function start(root, changed) {
  const follow = () => show(root, changed);
  addEventListener("hashchange", follow);
  return follow();
}

async function show(root, changed) {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  const { name, args, params } = parse(location.hash);
  const route = ROUTES[name];
  changed(name);
  if (!route)
    return fill(root, "Not found", h("p", null, "There is no such page. Choose one above."));
  const view = await route.load();
  if (signal.aborted) return;
  const content = fill(root, view.title);
  const replace = (given) => history.replaceState(null, "", link(name, args, given));
  try {
    await view.show({ root: content, args, params, signal, replace });
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    if (!(error instanceof ApiError)) throw error;
    render(content, h("p", { class: "error", role: "alert" }, error.detail));
  }
}

function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [name, ...args] = path.split("/").map(decoded);
  return { name, args, params: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Begin a page with its heading, which gets the focus, so that it is read out. */
function fill(root, title, ...more) {
  document.title = `${title} · Bananas`;
  const content = document.createElement("div");
  content.className = "view";
  render(content, ...more);
  const heading = document.createElement("h1");
  heading.textContent = title;
  heading.tabIndex = -1;
  const isFirst = !root.querySelector("h1");
  root.replaceChildren(heading, content);
  if (!isFirst) {
    heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  return content;
}
