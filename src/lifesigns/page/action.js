/** What an operator may do to an agent; each asks first. */

import { confirm } from "./dialog.js";
import { h } from "./element.js";
import { go, link } from "./route.js";

const ADMINS = ["admin", "root"];

/** Whether this reader may do more than look. @param {import("./main.js").Page} page */
export function mayAct(page) {
  return ADMINS.includes(page.hub.scope);
}

/**
 * The buttons for an agent, or, with a claim, for that.
 * @param {import("./main.js").Page} page @param {{id: string, shown: any}} agent @param {string} [claim]
 */
export function actionsOf(page, { id, shown }, claim) {
  if (!mayAct(page)) return [];
  const name = encodeURIComponent(id);
  const call = page.hub.call.bind(page.hub);
  if (claim) {
    return [
      button("Release", () =>
        confirm(
          `Release this claim?`,
          `Its holder loses ${id} at once, and the slot is free for others.`,
          "Release",
          () => call("DELETE", `/v1/claims/${encodeURIComponent(claim)}`),
        ),
      ),
    ];
  }
  /** @type {[string, string][]} */
  const why = [["why", "Why (shown to others)"]];
  const drain = () =>
    confirm(
      `Drain ${id}?`,
      "It keeps what it does, and is given no new work until you let it.",
      "Drain",
      (said) => call("PUT", `/v1/pulse/${name}/override`, { state: "draining", why: said.why || null }),
      why,
    );
  const bar = () =>
    confirm(
      `Take ${id} out of service?`,
      "It is shown as error and given no work until you let it.",
      "Take out",
      (said) => call("PUT", `/v1/pulse/${name}/override`, { state: "error", why: said.why || null }),
      why,
    );
  const lift = () =>
    confirm(`Let ${id} work again?`, "Its own word counts again.", "Let it work", () =>
      call("DELETE", `/v1/pulse/${name}/override`),
    );
  const forget = async () => {
    await call("DELETE", `/v1/pulse/${name}?forget=true`);
    go(link("table"));
  };
  return [
    shown.override ? button("Let it work again", lift) : button("Drain…", drain),
    !shown.override && button("Take out…", bar),
    button("Keys…", () => go(link("keys", { query: { q: id } }))),
    button(
      "Forget…",
      () =>
        confirm(
          `Forget ${id}?`,
          `Its sockets are closed, and its record and its past are dropped for good. It comes back as new if it beats again.`,
          "Forget",
          forget,
        ),
      "danger",
    ),
  ];
}

/** @param {string} text @param {() => void} act @param {string} [look] */
export function button(text, act, look = "") {
  return h("button", { type: "button", class: look || null, onclick: act }, text);
}
