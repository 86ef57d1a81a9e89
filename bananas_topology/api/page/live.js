// Live updates: the server-sent events of GET /events, read with fetch, since an
// EventSource cannot send a token. Reconnects where it left off, also after this device has slept.
// Views use `keepCurrent`, which also reads at intervals: without events all works, more slowly.

import { ApiError, failure, open } from "./api.js";
import * as connection from "./connection.js";
import { EventParser } from "./event_parser.js";

/** Sends the events of GET /events by name: `event.detail` is their data. */
export const events = new EventTarget();

const SECOND = 1000;

/** A connection without a sign of life for this long is dead: the API sends one every 15 s. */
const SILENCE = 40 * SECOND;

/** Between attempts to connect: doubled with each failure. */
const FIRST_PAUSE = 1 * SECOND;
const LONGEST_PAUSE = 30 * SECOND;

/** A timer that is this late means that the device has slept. */
const SLEPT = 20 * SECOND;

/**
 * A page that nobody has looked at for this long ends its stream: a browser has six connections to
 * the API, shared by all tabs, and with as many streams no tab could send a request.
 */
const UNSEEN = 10 * SECOND;

let lastId = null;
let current = null;

/** Read events for as long as the page is open. */
export async function run() {
  watchForSleep();
  watchForAttention();
  connection.changes.addEventListener("recovered", () => wake());
  for (let pause = FIRST_PAUSE; ;) {
    if (document.hidden) await seen();
    const began = Date.now();
    const supported = await readOnce();
    connection.streaming(false);
    pause = Date.now() - began > LONGEST_PAUSE ? FIRST_PAUSE : Math.min(2 * pause, LONGEST_PAUSE);
    await sleep((supported ? pause : LONGEST_PAUSE) * (0.5 + Math.random() / 2));
  }
}

/**
 * Keep something current until `signal` is aborted: call `load` now, every `every` seconds, when
 * one of the events `on` arrives, and when events were missed. Never twice at a time, never while
 * the page is hidden. Without an answer, the last one stays: the header says how old it is.
 *
 * Returns a function that calls `load` at once. `failed` is called with an ApiError that is not
 * about the connection.
 */
export function keepCurrent(signal, load, { every = 5, on = [], failed = () => {} } = {}) {
  let timer = null;
  let isLoading = false;
  let isWanted = false;
  let loadedAt = 0;

  async function reload() {
    clearTimeout(timer);
    isWanted = true;
    if (isLoading || signal.aborted || document.hidden) return;
    isLoading = true;
    try {
      while (isWanted && !signal.aborted) {
        isWanted = false;
        loadedAt = Date.now();
        await load().catch(tolerate);
      }
    } finally {
      isLoading = false;
      if (!signal.aborted) timer = setTimeout(reload, every * SECOND);
    }
  }

  function tolerate(error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ApiError)) throw error;
    if (!error.isTemporary) failed(error);
  }

  // Many events in a row are answered by one reading a second.
  function soon() {
    clearTimeout(timer);
    timer = setTimeout(reload, Math.max(0, loadedAt + SECOND - Date.now()));
  }

  for (const name of on) events.addEventListener(name, soon, { signal });
  events.addEventListener("reset", reload, { signal });
  document.addEventListener("visibilitychange", reload, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  reload();
  return reload;
}

/** Read events until the connection ends; returns whether the API has them. */
async function readOnce() {
  current = new AbortController();
  const { signal } = current;
  let timer = setTimeout(hangUp, SILENCE);
  try {
    const headers = lastId === null ? {} : { "Last-Event-ID": lastId };
    const response = await open("events", { signal, headers });
    if (!response.ok) throw await failure(response);
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return false;
    connection.streaming(true);
    const parser = new EventParser(lastId);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return true;
      clearTimeout(timer);
      timer = setTimeout(hangUp, SILENCE);
      for (const event of parser.feed(value)) publish(event);
      lastId = parser.lastId;
    }
  } catch (error) {
    return !(error instanceof ApiError) || error.status === 0;
  } finally {
    clearTimeout(timer);
  }
}

function publish({ name, data }) {
  const detail = JSON.parse(data || "{}");
  if (name === "unavailable") connection.lost(detail.detail);
  else if (name === "counters") connection.answered();
  events.dispatchEvent(new CustomEvent(name, { detail }));
}

function hangUp() {
  current?.abort();
}

let wake = () => {};

function sleep(ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}

/** Everything may have changed, and the connection may be dead without knowing it. */
function startOver() {
  hangUp();
  wake();
  events.dispatchEvent(new CustomEvent("reset", { detail: {} }));
}

function watchForSleep() {
  const interval = 5 * SECOND;
  let expected = Date.now() + interval;
  setInterval(() => {
    const isLate = Date.now() > expected + SLEPT;
    expected = Date.now() + interval;
    if (isLate && !document.hidden) startOver();
  }, interval);
  addEventListener("online", startOver);
}

function watchForAttention() {
  let timer = null;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(hangUp, UNSEEN);
    else wake();
  });
}

function seen() {
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}
