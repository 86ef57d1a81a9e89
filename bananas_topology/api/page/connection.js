// Whether what the page shows is current. `api.js` and `live.js` report, the header shows it.

/** Sends "change" when `state()` has changed, and "recovered" when a problem is over. */
export const changes = new EventTarget();

let problem = null;
let updatedAt = null;
let isStreaming = false;

/**
 * The state of the connection: `problem` is a sentence or null, `updatedAt` milliseconds or null,
 * `isLive` whether changes arrive as they happen rather than every few seconds.
 */
export function state() {
  return { problem, updatedAt, isLive: isStreaming && problem === null };
}

/** A request was answered. */
export function answered() {
  updatedAt = Date.now();
  set(null, isStreaming);
}

/** A request failed because the API, or Redis behind it, cannot be reached. */
export function lost(detail) {
  set(detail, isStreaming);
}

/** Events arrive as they happen, or not any more. */
export function streaming(isOn) {
  set(problem, isOn);
}

function set(newProblem, newIsStreaming) {
  const isRecovered = problem !== null && newProblem === null;
  problem = newProblem;
  isStreaming = newIsStreaming;
  changes.dispatchEvent(new Event("change"));
  if (isRecovered) changes.dispatchEvent(new Event("recovered"));
}
