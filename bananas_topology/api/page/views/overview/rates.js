// Rates of completed and failed runs, from the totals that events carry.

/** How far back the sparklines go, and over how much of it the current rate is averaged. */
const REMEMBERED_MS = 120_000;
const AVERAGED_MS = 5000;

/** Events further apart than this give no rate for the time between them. */
const GAP_MS = 30_000;

/** Rates over the last minutes of events; see GET /events for the names of the totals. */
export class Rates {
  #samples = [];

  /** Add the totals of an event. After a gap, or if they began anew, the rest is forgotten. */
  add({ at, completed, failed }) {
    const sample = { at: Date.parse(at), completed, failed };
    const last = this.#samples.at(-1);
    if (last && sample.at <= last.at) return;
    if (last && (sample.completed < last.completed || sample.at - last.at > GAP_MS)) {
      this.#samples = [];
    }
    this.#samples.push(sample);
    while (sample.at - this.#samples[0].at > REMEMBERED_MS) this.#samples.shift();
  }

  /** The current rate as [runs, seconds]; null if it is not known yet. */
  current(name) {
    const last = this.#samples.at(-1);
    if (this.#samples.length < 2) return null;
    const first =
      this.#samples.findLast(({ at }) => last.at - at >= AVERAGED_MS) ?? this.#samples[0];
    return [last[name] - first[name], secondsBetween(first, last)];
  }

  /** The rates between one event and the next, per second. */
  recent(name) {
    return this.#samples
      .slice(1)
      .map((sample, at) => [this.#samples[at], sample])
      .map(([before, after]) => (after[name] - before[name]) / secondsBetween(before, after));
  }
}

function secondsBetween(first, last) {
  return (last.at - first.at) / 1000;
}
