// Values formatted for display; unknown ones are a dash.

import { now } from "./time.js";

export const UNKNOWN = "–";

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1000],
];

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compacted = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A count in full: "12,345". */
export function count(number) {
  return number === null || number === undefined ? UNKNOWN : grouped.format(number);
}

/** A count that fits anywhere: "12.3K". */
export function compact(number) {
  if (number === null || number === undefined) return UNKNOWN;
  return number < 10_000 ? grouped.format(number) : compacted.format(number);
}

/** A count with its noun: "1 job", "2,000 jobs". */
export function quantity(number, noun, plural = `${noun}s`) {
  return `${count(number)} ${number === 1 ? noun : plural}`;
}

/** Milliseconds in the two largest units: "1 h 5 min", "2.5 s", "12 ms". */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return UNKNOWN;
  if (ms < 1000) return `${ms < 10 ? Number(ms.toPrecision(2)) : Math.round(ms)} ms`;
  if (ms < 10_000) return `${trimmed(ms / 1000, 1)} s`;
  const rounded = Math.round(ms / 1000) * 1000;
  const at = UNITS.findIndex(([, size]) => rounded >= size);
  const [unit, size] = UNITS[at];
  const first = Math.floor(rounded / size);
  const smaller = UNITS[at + 1];
  const second = smaller ? Math.floor((rounded % size) / smaller[1]) : 0;
  return second && first < 10 ? `${first} ${unit} ${second} ${smaller[0]}` : `${first} ${unit}`;
}

/** How long ago a timestamp was, or how far ahead it is, as a duration. */
export function age(timestamp, at = now()) {
  return timestamp ? duration(Math.abs(at - Date.parse(timestamp))) : UNKNOWN;
}

/** A timestamp relative to now: "5 min ago", "in 2 h". */
export function relative(timestamp, at = now()) {
  if (!timestamp) return UNKNOWN;
  const ahead = Date.parse(timestamp) - at;
  if (Math.abs(ahead) < 1000) return "now";
  return ahead > 0 ? `in ${duration(ahead)}` : `${duration(-ahead)} ago`;
}

/** A timestamp in the reader's time zone: "2026-11-26 14:03:09". */
export function moment(timestamp) {
  if (!timestamp) return UNKNOWN;
  const date = new Date(timestamp);
  return `${day(date)} ${clock(date, true)}`;
}

/** The time of day in the reader's time zone: "14:03" or "14:03:09". */
export function clock(time, withSeconds = false) {
  const date = new Date(time);
  const parts = [date.getHours(), date.getMinutes(), ...(withSeconds ? [date.getSeconds()] : [])];
  return parts.map(padded).join(":");
}

/** Jobs in a time as a rate: per second, or per minute where that would be a small fraction. */
export function rate(jobs, seconds, perMinute = isSlow(jobs, seconds)) {
  if (jobs === null || jobs === undefined || !(seconds > 0)) return UNKNOWN;
  const value = (jobs / seconds) * (perMinute ? 60 : 1);
  return `${decimal(value)}/${perMinute ? "min" : "s"}`;
}

/** Whether a rate is better stated per minute. */
export function isSlow(jobs, seconds) {
  return jobs / seconds < 1;
}

/** A number with as many decimals as tell something: "0.25", "9.5", "1,200". */
export function decimal(value) {
  if (value >= 10_000) return compacted.format(value);
  if (value >= 10) return grouped.format(value);
  return trimmed(value, value < 1 ? 2 : 1);
}

/** A share as a percentage: "73 %". */
export function percent(share) {
  if (share === null || share === undefined || Number.isNaN(share)) return UNKNOWN;
  const value = share * 100;
  return `${value > 0 && value < 1 ? "<1" : Math.round(value)} %`;
}

/** A share as a length in CSS: "12.5%". */
export function cssLength(share) {
  return `${trimmed(share * 100, 2)}%`;
}

/** Bytes in binary units: "12.5 MiB". */
export function bytes(number) {
  if (number === null || number === undefined) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(number, 1)) / 10));
  const value = number / 1024 ** power;
  return `${trimmed(value, power && value < 100 ? 1 : 0)} ${units[power]}`;
}

function trimmed(value, digits) {
  return String(Number(value.toFixed(digits)));
}

function day(date) {
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(padded).join("-");
}

function padded(number) {
  return String(number).padStart(2, "0");
}
