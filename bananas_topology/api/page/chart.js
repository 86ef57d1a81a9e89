// Charts over time: lines, areas and bars in SVG, which is stretched to its box; labels are HTML.
// The values at the cursor are in the legend. It follows the pointer, or the arrow keys.

import { h } from "./dom.js";
import { clock, cssLength } from "./format.js";
import { timeTicks } from "./scale.js";

const WIDTH = 1000;
const HEIGHT = 100;

/**
 * A chart.
 *
 *   title, id
 *   times     milliseconds, evenly spaced, one for each value
 *   series    a list of {name, mark, shape, values}: `mark` is the class that colors it, `shape` is
 *             "line", "area" or "bars" (which are stacked), and values are numbers or null
 *   ticks     values of the axis: a function of the largest value
 *   format    a function from a value to its text
 *   cursor    index of the time that is pointed at; null for none
 *   point     called with the new cursor
 */
export function chart({ title, id, times, series, ticks, format, cursor, point }) {
  const stack = stacked(series);
  const levels = ticks(Math.max(0, ...stack.flatMap(({ tops }) => tops)));
  const top = levels.at(-1);
  const at = cursor ?? times.length - 1;
  const readout = series.map((each) => ({ ...each, text: textOf(each.values[at], format) }));
  const spoken = readout.map(({ name, text }) => `${name} ${text}`).join(", ");
  return h(
    "figure",
    { class: "chart", key: id },
    h(
      "figcaption",
      null,
      h("h3", null, title),
      h("span", { class: "legend" }, readout.map(legend)),
    ),
    h(
      "div",
      {
        class: "plot",
        tabindex: 0,
        role: "slider",
        "aria-label": `${title}, by time`,
        "aria-valuemin": 0,
        "aria-valuemax": times.length - 1,
        "aria-valuenow": at,
        "aria-valuetext": `${clock(times[at])}: ${spoken}`,
        on: { ...pointing(times.length, point), keydown: steering(at, times.length, point) },
      },
      levels.map((level) => levelLine(level, top, format)),
      h(
        "svg",
        { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        stack.map((each, index) => shapeOf(each, index, top)),
      ),
      cursor !== null && crosshair(times, cursor),
    ),
    h("div", { class: "times", "aria-hidden": "true" }, timeLabels(times)),
  );
}

/** Where each series ends above the axis: bars stand on those before them. */
function stacked(series) {
  let floor = null;
  return series.map((each) => {
    const values = each.values;
    if (each.shape !== "bars") return { ...each, floors: null, tops: values };
    const floors = floor ?? values.map(() => 0);
    const tops = values.map((value, at) => floors[at] + (value ?? 0));
    floor = tops;
    return { ...each, floors, tops };
  });
}

function shapeOf({ shape, mark, floors, tops }, key, top) {
  const y = (value) => round(HEIGHT - (value / top) * HEIGHT);
  if (shape === "bars") return h("path", { key, class: `bars ${mark}`, d: bars(floors, tops, y) });
  const line = h("path", { key, class: `line ${mark}`, d: lines(tops, y) });
  return shape === "area"
    ? [h("path", { key: `${key}-area`, class: `area ${mark}`, d: area(tops, y) }), line]
    : line;
}

/** A line through the values; it is interrupted where there is none. */
function lines(values, y) {
  let isDrawing = false;
  return values
    .map((value, at) => {
      if (value === null) {
        isDrawing = false;
        return "";
      }
      const command = isDrawing ? "L" : "M";
      const isAlone = !isDrawing && (values[at + 1] ?? null) === null;
      isDrawing = true;
      // One value among none is a dash, since a dot is easily missed.
      return `${command}${x(at, values.length)} ${y(value)}${isAlone ? "m-4 0h8" : ""}`;
    })
    .join("");
}

function area(values, y) {
  const along = values.map((value, at) => `L${x(at, values.length)} ${y(value ?? 0)}`).join("");
  return `M0 ${HEIGHT}${along}L${WIDTH} ${HEIGHT}Z`;
}

function bars(floors, tops, y) {
  const width = (WIDTH / tops.length) * 0.8;
  return tops
    .map((value, at) => {
      if (value === floors[at]) return "";
      const left = round(Math.min(Math.max(x(at, tops.length) - width / 2, 0), WIDTH - width));
      return `M${left} ${y(floors[at])}V${y(value)}h${round(width)}V${y(floors[at])}Z`;
    })
    .join("");
}

function levelLine(level, top, format) {
  return h(
    "div",
    { class: "level", key: `level-${level}`, style: { bottom: cssLength(level / top) } },
    h("span", { "aria-hidden": "true" }, format(level)),
  );
}

function crosshair(times, cursor) {
  const left = cursor / (times.length - 1);
  return h(
    "div",
    {
      class: left > 0.5 ? "crosshair late" : "crosshair",
      key: "cursor",
      style: { left: cssLength(left) },
    },
    h("span", null, clock(times[cursor])),
  );
}

function timeLabels(times) {
  const [from, until] = [times[0], times.at(-1)];
  return timeTicks(from, until).map((time) =>
    h(
      "span",
      { key: time, style: { left: cssLength((time - from) / (until - from)) } },
      clock(time),
    ),
  );
}

function legend({ name, mark, text }) {
  return h(
    "span",
    { key: name },
    h("i", { class: `swatch ${mark}` }),
    `${name} `,
    h("b", null, text),
  );
}

function pointing(length, point) {
  const move = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const index = Math.round(((event.clientX - box.left) / box.width) * (length - 1));
    point(Math.min(Math.max(index, 0), length - 1));
  };
  return {
    pointermove: move,
    pointerdown: move,
    pointerleave: () => point(null),
    blur: () => point(null),
  };
}

function steering(at, length, point) {
  return (event) => {
    const moves = {
      ArrowLeft: -1,
      ArrowRight: 1,
      PageUp: 10,
      PageDown: -10,
      Home: -length,
      End: length,
    };
    if (event.key === "Escape") return point(null);
    const move = moves[event.key];
    if (move === undefined || event.ctrlKey || event.metaKey || event.altKey) return undefined;
    event.preventDefault();
    return point(Math.min(Math.max(at + move, 0), length - 1));
  };
}

function textOf(value, format) {
  return value === null || value === undefined ? "none" : format(value);
}

function x(at, length) {
  return round((at / (length - 1)) * WIDTH);
}

function round(number) {
  return Number(number.toFixed(2));
}
