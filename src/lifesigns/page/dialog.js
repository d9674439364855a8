/** Asking before something is done that cannot be taken back lightly. */

import { h } from "./element.js";

/**
 * Ask; what is typed into the fields is handed on.
 * @param {string} title @param {string} text @param {string} action the word on the button
 * @param {(said: Record<string, string>) => Promise<any>} done
 * @param {[string, string][]} [fields] name and label @param {Node} [shown] below the text
 */
export function confirm(title, text, action, done, fields = [], shown) {
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  const inputs = fields.map(([name, label]) =>
    h("label", {}, label, h("input", { name, autocomplete: "off", maxlength: 1000 })),
  );
  const wrong = h("p", { class: "wrong", role: "alert" });
  const act = h("button", { type: "submit", class: "primary" }, action);
  const dialog = h(
    "dialog",
    { "aria-labelledby": "dialog-title" },
    h(
      "form",
      {
        onsubmit: async (/** @type {Event} */ event) => {
          event.preventDefault();
          act.disabled = true;
          try {
            const typed = new FormData(/** @type {HTMLFormElement} */ (event.target));
            await done(Object.fromEntries([...typed].map(([name, value]) => [name, String(value).trim()])));
            dialog.close();
          } catch (error) {
            wrong.textContent = /** @type {Error} */ (error).message;
            act.disabled = false;
          }
        },
      },
      h("h2", { id: "dialog-title" }, title),
      h("p", {}, text),
      shown,
      inputs,
      wrong,
      h(
        "div",
        { class: "dialog-actions" },
        h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        act,
      ),
    ),
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    before?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}
