// Requests to the API that serves this page. Paths are relative, so that a proxy may add a prefix.
// ETags are the browser's business: it revalidates what it has stored, and hands it out on a 304.

import * as connection from "./connection.js";
import { adjust } from "./time.js";
import { askForToken, token } from "./token.js";

const UNREACHABLE = "The API is not reachable.";

/** Reading takes the API less than this, also with a full page of large jobs. */
const TIMEOUT_MS = 30_000;

/** Why a request failed: `detail` is a sentence for the user, `status` that of HTTP, or 0. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.name = "ApiError";
    this.status = status;
    this.detail = detail;
  }

  /** Whether the request may succeed later, unchanged. */
  get isTemporary() {
    return this.status === 0 || this.status === 503;
  }
}

/** A path with parameters; those that are null, undefined or empty are left out. */
export function withQuery(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => (value ?? "") !== "");
  const query = new URLSearchParams(given).toString();
  return query ? `${path}?${query}` : path;
}

/**
 * Get JSON. Parameters that are null, undefined or empty are left out.
 *
 * Throws ApiError, or AbortError if the signal is aborted.
 */
export async function get(path, parameters = {}, { signal } = {}) {
  return JSON.parse(await getText(withQuery(path, parameters), { signal }));
}

/** Get JSON as text: numbers in it may be larger than those of JavaScript. */
export async function getText(path, { signal } = {}) {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  return answer(path, { signal: signal ? AbortSignal.any([signal, limit]) : limit });
}

/** Send a request that changes something; returns the JSON of the response, null if it has none. */
export async function send(method, path, body, { signal } = {}) {
  const request = { method, signal, headers: { "Content-Type": "application/json" } };
  // A string is JSON already: numbers in it may be larger than those of JavaScript.
  if (body !== undefined) request.body = typeof body === "string" ? body : JSON.stringify(body);
  return JSON.parse((await answer(path, request)) || "null");
}

/**
 * Make a request with the token, asking for that if needed; returns the response, whatever its
 * status but 401. Throws ApiError if there is none.
 */
export async function open(path, { headers = {}, ...request } = {}) {
  for (let isRepeated = false; ; isRepeated = true) {
    const used = token();
    const authorization = used ? { Authorization: `Bearer ${used}` } : {};
    const all = { ...headers, ...authorization };
    const response = await reached(fetch(path, { ...request, headers: all }));
    adjust(response.headers.get("date"));
    if (response.status !== 401) return response;
    await askForToken(used, isRepeated);
  }
}

/** Turn a response that is not a success into what it says is wrong. */
export async function failure(response) {
  const problem = await response.json().catch(() => ({}));
  const unexpected = `Expected a response from the API, got one from another server or proxy, with`;
  const detail = problem.detail || `${unexpected} status ${response.status}.`;
  return new ApiError(response.status, detail);
}

/** The text of a successful response. */
async function answer(path, request) {
  const response = await open(path, request);
  if (response.ok && isJson(response)) {
    const text = await reached(response.text());
    connection.answered();
    return text;
  }
  const error = await failure(response);
  if (error.isTemporary) connection.lost(error.detail);
  else connection.answered();
  throw error;
}

function isJson(response) {
  return response.status === 204 || response.headers.get("content-type")?.includes("json");
}

/** What arrives from the API; an ApiError if it does not. */
async function reached(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    connection.lost(UNREACHABLE);
    throw new ApiError(0, UNREACHABLE);
  }
}
