// Axes: which values and times have labels. Pure.

const MINUTE = 60_000;
const TIME_STEPS = [1, 5, 10, 15, 30, 60, 120, 180, 240, 360].map((minutes) => minutes * MINUTE);

/** Round values from 0 up to `max` or somewhat more, about `wanted` of them. */
export function valueTicks(max, wanted = 4) {
  if (!(max > 0)) return [0, 1];
  const rough = max / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [0];
  while (ticks.at(-1) < max) ticks.push(Number((ticks.at(-1) + step).toPrecision(12)));
  return ticks;
}

/** Round milliseconds from 0 up to `max` or more: those steps that a duration is stated in. */
export function durationTicks(max, wanted = 4) {
  if (max <= 1000) return valueTicks(max, wanted);
  const units = [1000, MINUTE, 60 * MINUTE, 24 * 60 * MINUTE];
  const unit = units.findLast((size) => max >= 2 * size) ?? 1000;
  return valueTicks(max / unit, wanted).map((value) => value * unit);
}

/** Round times of the reader's day within a period, about `wanted` of them; in milliseconds. */
export function timeTicks(from, until, wanted = 6) {
  const rough = (until - from) / wanted;
  const step = TIME_STEPS.find((size) => size >= rough) ?? TIME_STEPS.at(-1);
  const offset = new Date(from).getTimezoneOffset() * MINUTE;
  const ticks = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= until; at += step) {
    ticks.push(at);
  }
  return ticks;
}
