/** The door: a key, and whether this browser should keep it. */

import { h } from "./element.js";
import { keepKey } from "./session.js";

/** Ask for a key. @param {string} why shown above, "" at first @param {(key: string) => void} taken */
export function signIn(why, taken) {
  const key = h("input", {
    type: "password",
    id: "key",
    name: "key",
    autocomplete: "current-password",
    required: true,
    spellcheck: "false",
    "aria-describedby": "key-help",
  });
  const keep = h("input", { type: "checkbox", id: "keep" });
  const form = h(
    "form",
    {
      class: "panel door",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        keepKey(key.value.trim(), keep.checked ? "browser" : "nowhere");
        taken(key.value.trim());
      },
    },
    h("h1", {}, "Sign in"),
    why && h("p", { class: "wrong", role: "alert" }, why),
    h("input", { type: "text", name: "username", autocomplete: "username", value: "lifesigns", hidden: true }), // by which a browser files the key
    h("label", { for: "key" }, "Key"),
    key,
    h(
      "p",
      { class: "quiet", id: "key-help" },
      "A key of any scope that may watch. The hub prints an address that signs you in when it starts; later, ",
      h("code", {}, "lifesigns keys create --scope watch"),
      " makes a key.",
    ),
    h("label", { class: "check" }, keep, " Keep it in this browser"),
    h("button", { type: "submit", class: "primary" }, "Sign in"),
  );
  queueMicrotask(() => key.focus());
  return form;
}
