// The API's token: asked for when a request is refused, and kept until this tab is closed.

import { showDialog } from "./dialogs.js";
import { h } from "./dom.js";

const KEY = "bananas-token";

let asking = null;

/** The token that was entered in this tab; null if none was needed. */
export function token() {
  return sessionStorage.getItem(KEY);
}

/** Forget the token: the next request asks for one. */
export function forgetToken() {
  sessionStorage.removeItem(KEY);
}

/**
 * Ask for a token, once however many requests were refused; resolves when there is a new one.
 *
 * `refused` is the token that the request had, `again` whether it was entered for that request.
 */
export function askForToken(refused, again) {
  // Another request may have got one meanwhile.
  if (token() !== refused) return Promise.resolve();
  asking ??= ask(Boolean(refused) && again).finally(() => {
    asking = null;
  });
  return asking;
}

function ask(wasWrong) {
  return new Promise((resolve) => {
    const content = (close) => {
      const entered = (token) => {
        sessionStorage.setItem(KEY, token);
        close();
        resolve();
      };
      return form(wasWrong, entered);
    };
    showDialog("Token required", content, { isRequired: true });
  });
}

function form(wasWrong, entered) {
  const submit = (event) => {
    event.preventDefault();
    const given = new FormData(event.target).get("token").trim();
    if (given) entered(given);
  };
  return h(
    "form",
    { on: { submit }, class: "stack" },
    h(
      "p",
      { id: "token-help" },
      "This API requires its API_TOKEN, or API_READ_TOKEN for read-only access. ",
      "It is kept until this tab is closed.",
    ),
    wasWrong &&
      h("p", { class: "error", id: "token-error", role: "alert" }, "That token is not valid."),
    h(
      "label",
      { class: "field" },
      h("span", { class: "label" }, "Token"),
      h("input", {
        name: "token",
        type: "password",
        autocomplete: "off",
        required: true,
        autofocus: true,
        "aria-describedby": wasWrong ? "token-error token-help" : "token-help",
        "aria-invalid": wasWrong ? "true" : null,
      }),
    ),
    h("div", { class: "actions" }, h("button", { class: "button primary" }, "Continue")),
  );
}
