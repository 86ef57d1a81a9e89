// Shell commands that enqueue a job again. Pure.

import { visible } from "./visible.js";

/** The longest payload within a command: Linux takes arguments of up to 128 KiB. */
const MAX_INLINE = 20_000;

/** The name of the file that the commands read, if the job does not fit into a command. */
export const JOB_FILE = "job.json";

/**
 * The JSON of a request that enqueues a job like this one, under a new id.
 *
 * `payload` is JSON as text, to be sent as it stands.
 */
function requestFor({ name, priority, max_retries }, payload) {
  const retries = max_retries === null ? "" : `,"max_retries":${max_retries}`;
  const level = JSON.stringify(priority ?? "normal");
  return `{"name":${JSON.stringify(name)},"payload":${payload},"priority":${level}${retries}}`;
}

/**
 * Commands that enqueue a job like this one: `bananas`, `curl`, and the text of the file that they
 * read, or null.
 *
 * `url` is that of POST /jobs; `hasToken` tells whether it requires one.
 */
export function commandsFor(job, payload, url, hasToken) {
  const request = visible(requestFor(job, payload));
  const header = hasToken ? '-H "Authorization: Bearer $API_TOKEN" ' : "";
  const post = (body) => `curl ${header}--json ${body} ${quoted(url)}`;
  // JSON has escapes for control characters, a command has not.
  if (request.length > MAX_INLINE || visible(job.name) !== job.name) {
    return {
      bananas: `bananas enqueue --batch ${JOB_FILE}`,
      curl: post(`@${JOB_FILE}`),
      file: request,
    };
  }
  const options = [
    `--payload ${quoted(visible(payload))}`,
    job.priority && `--priority ${job.priority}`,
    job.max_retries !== null && `--max-retries ${job.max_retries}`,
  ].filter(Boolean);
  const name = job.name.startsWith("-") ? `-- ${quoted(job.name)}` : quoted(job.name);
  const bananas = job.name.startsWith("-") ? [...options, name] : [name, ...options];
  return {
    bananas: `bananas enqueue ${bananas.join(" ")}`,
    curl: post(quoted(request)),
    file: null,
  };
}

/** A word of a POSIX shell. */
function quoted(text) {
  return /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
