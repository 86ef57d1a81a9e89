// The time at the API: ages are computed by its clock, since that of this device may be wrong.

/** Responses tell their time in seconds, and take a moment to arrive. */
const PRECISION_MS = 5000;

let offset = 0;

/** The current time, in milliseconds since 1970. */
export function now() {
  return Date.now() + offset;
}

/** Learn from the Date header of a response. */
export function adjust(date) {
  const difference = Date.parse(date) - Date.now();
  // NaN without the header.
  if (Math.abs(difference) > PRECISION_MS) offset = difference;
  else if (!Number.isNaN(difference)) offset = 0;
}
