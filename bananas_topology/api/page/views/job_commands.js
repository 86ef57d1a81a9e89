// A job as commands to copy.

import { commandsFor, JOB_FILE } from "../commands.js";
import { h } from "../dom.js";
import { button, section } from "../parts.js";
import { token } from "../token.js";
import { copyBlock, download } from "./text_blocks.js";

/** Commands that enqueue a job like this one; `payload` is JSON as text. */
export function commandSection(job, payload) {
  const url = new URL("jobs", document.baseURI.split("#")[0]).href;
  const { bananas, curl, file } = commandsFor(job, payload, url, token() !== null);
  return section(
    "Enqueue from a shell",
    {},
    h(
      "div",
      { class: "panel-body" },
      file !== null &&
        h(
          "p",
          { class: "row" },
          "The commands read the job from a file.",
          button(`Save ${JOB_FILE}`, () => download(file, JOB_FILE, "application/json"), {
            kind: "small",
          }),
        ),
      copyBlock("Command", bananas),
      copyBlock("Request", curl),
    ),
  );
}
