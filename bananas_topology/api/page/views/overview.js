// The state of the deployment: alerts, queues, pools and history.

import { get } from "../api.js";
import { h, render } from "../dom.js";
import { events, keepCurrent } from "../live.js";
import { alertList } from "./overview/alerts.js";
import { figures } from "./overview/figures.js";
import { history, PERIODS } from "./overview/history.js";
import { pools } from "./overview/pools.js";
import { queues } from "./overview/queues.js";
import { Rates } from "./overview/rates.js";

export const title = "Overview";

export function show({ root, params, signal, replace }) {
  const selected = {
    period: params.get("period") in PERIODS ? params.get("period") : "hour",
    type: params.get("type") ?? "",
    pool: params.get("pool") ?? "",
  };
  const view = { selected, cursor: null, isTable: false, breakdown: "types", isComplete: false };
  const rates = new Rates();
  let isScheduled = false;

  /** Draw what is known, once however many changes there are until the next frame. */
  function draw() {
    if (isScheduled || signal.aborted) return;
    isScheduled = true;
    requestAnimationFrame(() => {
      isScheduled = false;
      if (!signal.aborted) render(root, content());
    });
  }

  function content() {
    return [
      alertList(view.alerts),
      figures(view, rates),
      h("div", { class: "columns", key: "state" }, queues(view.queues), pools(view.pools)),
      history(view, change),
    ];
  }

  /** Change what is shown of the history; what is selected is part of the address. */
  function change(changes, selection = {}) {
    Object.assign(view, changes);
    const isNew = Object.entries(selection).some(([name, value]) => selected[name] !== value);
    if (isNew) {
      Object.assign(selected, selection);
      view.cursor = null;
      replace({ ...selected, period: selected.period === "hour" ? "" : selected.period });
      readHistory();
    }
    draw();
  }

  /** Keep one part of the view current: its value, or what is wrong with it. */
  function keep(name, path, parameters, options) {
    const load = async () => {
      const asked = parameters();
      const value = await get(path, asked, { signal });
      view[name] = { value };
      draw();
    };
    const failed = (error) => {
      view[name] = { error: error.detail };
      draw();
    };
    return keepCurrent(signal, load, { ...options, failed });
  }

  const take = ({ detail }) => {
    view.counters = detail;
    rates.add(detail);
    draw();
  };
  events.addEventListener("counters", take, { signal });
  keep("queues", "queues", () => ({}), { every: 5 });
  keep("pools", "pools", () => ({}), { every: 5, on: ["worker"] });
  keep("alerts", "alerts", () => ({}), { every: 10 });
  const readHistory = keep("history", "history", () => ({ ...selected }), { every: 15 });
}
