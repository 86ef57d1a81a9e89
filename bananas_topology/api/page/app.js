// The frame around the views: navigation, the state of the connection, and what the keys do.

import * as connection from "./connection.js";
import { h, render } from "./dom.js";
import { clock } from "./format.js";
import * as live from "./live.js";
import { button } from "./parts.js";
import { link, ROUTES, start } from "./router.js";
import * as shortcuts from "./shortcuts.js";
import { switchTheme, theme } from "./theme.js";
import { forgetToken, token } from "./token.js";

const byId = (id) => document.getElementById(id);

let route = "";

function drawNavigation() {
  const items = Object.entries(ROUTES).filter(([, { label }]) => label);
  const current = ROUTES[route]?.within ?? route;
  render(
    byId("nav"),
    items.map(([name, { label }]) =>
      h(
        "li",
        { key: name },
        h("a", { href: link(name), "aria-current": name === current ? "page" : null }, label),
      ),
    ),
  );
}

function drawConnection() {
  const { problem, updatedAt, isLive } = connection.state();
  const mark = problem ? "failed" : isLive ? "live" : "polling";
  const words = problem
    ? "Not current"
    : isLive
      ? "Live"
      : updatedAt
        ? "Every few seconds"
        : "Connecting";
  render(
    byId("connection"),
    h("span", { class: `dot ${mark}` }),
    h("span", { class: "words" }, words),
    updatedAt && h("span", { class: "updated" }, `updated ${clock(updatedAt, true)}`),
  );
  render(
    byId("banner"),
    problem &&
      h(
        "p",
        { class: "banner" },
        h("strong", null, "What is shown may be out of date. "),
        problem,
        " Trying again.",
      ),
  );
  // Shows whether there is a token.
  drawTools();
}

function drawTools() {
  const names = { auto: "System", light: "Light", dark: "Dark" };
  const change = () => {
    switchTheme();
    drawTools();
  };
  const forget = () => {
    forgetToken();
    location.reload();
  };
  render(
    byId("tools"),
    token() && button("Forget token", forget, { kind: "quiet", key: "token" }),
    button(
      [
        h("span", { "aria-hidden": "true" }, "◐ "),
        h("span", { class: "hidden" }, "Colors: "),
        h("span", { class: "long" }, names[theme()]),
      ],
      change,
      { kind: "quiet", key: "theme", title: "Switch between the system's colors, light and dark" },
    ),
    button([h("span", { class: "hidden" }, "Keyboard shortcuts "), "?"], shortcuts.showHelp, {
      kind: "quiet",
      key: "help",
      title: "Keyboard shortcuts",
    }),
  );
}

function skipToContent(event) {
  // The address behind # is the view's.
  event.preventDefault();
  byId("content").focus();
}

document.querySelector(".skip").addEventListener("click", skipToContent);
connection.changes.addEventListener("change", drawConnection);
shortcuts.start();
drawConnection();
start(byId("content"), (name) => {
  route = name;
  drawNavigation();
});
live.run();
