// What interrupts: questions before a change, and short messages after one.

import { h, render } from "./dom.js";
import { button } from "./parts.js";

const MESSAGE_MS = 8000;

/**
 * Ask before a change; resolves to whether it was confirmed.
 *
 * `content` describes what will happen, `action` names it ("Delete 12 jobs"), `isDangerous` if it
 * cannot be undone: then the other button has the focus.
 */
export function confirm({ title, content, action, isDangerous = false }) {
  return new Promise((resolve) => {
    const dialog = showDialog(title, (close) => [
      ...[content].flat(),
      h(
        "div",
        { class: "actions" },
        button("Cancel", () => close("cancel"), { autofocus: isDangerous }),
        button(action, () => close("confirm"), {
          kind: isDangerous ? "danger" : "primary",
          autofocus: !isDangerous,
        }),
      ),
    ]);
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "confirm"));
  });
}

/**
 * Show a dialog until it is closed; `content` is called with the function that closes it.
 *
 * `isRequired` if only that closes it, since there is nothing to go back to.
 */
export function showDialog(title, content, { isRequired = false } = {}) {
  const dialog = document.createElement("dialog");
  dialog.className = "dialog";
  dialog.setAttribute("aria-label", title);
  const close = (value) => dialog.close(value);
  render(dialog, h("div", { class: "stack" }, h("h2", null, title), content(close)));
  dialog.addEventListener("close", () => dialog.remove());
  // A click beside the dialog has the dialog itself as its target: its content fills it.
  if (isRequired) dialog.addEventListener("cancel", (event) => event.preventDefault());
  else dialog.addEventListener("click", (event) => event.target === dialog && close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Say what was done or failed; screen readers read it out. `href` leads to what it is about. */
export function say(text, { isError = false, href = null } = {}) {
  const messages = document.getElementById("messages");
  const message = document.createElement("p");
  message.className = isError ? "message failed" : "message";
  render(message, href ? h("a", { href }, text) : text);
  messages.append(message);
  setTimeout(() => message.remove(), MESSAGE_MS * (isError ? 2 : 1));
}
