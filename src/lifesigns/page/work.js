/** What an agent has to do: its schedules, and the last of their runs. */

import { button, mayAct } from "./action.js";
import { h } from "./element.js";
import { rhythm, trigger } from "./schedule.js";
import { span, when } from "./time.js";

const RUNS = 8;

/** @typedef {Record<string, any>} Row */

/**
 * Ask for it; nothing if there is nothing.
 * @param {import("./main.js").Page} page @param {string} agent @param {() => any} done after an action
 * @returns {Promise<(Node | string)[]>}
 */
export async function workOf(page, agent, done) {
  const name = encodeURIComponent(agent);
  const [{ schedules }, { runs }] = await Promise.all([
    page.hub.call("GET", `/v1/schedules?agent=${name}`),
    page.hub.call("GET", `/v1/runs?agent=${name}&status=any&limit=${RUNS}`),
  ]);
  if (!schedules.length && !runs.length) return [h("p", { class: "quiet" }, "It has no schedule.")];
  return [...schedules.map((/** @type {Row} */ each) => scheduled(page, each, done)), runs.length > 0 && h("h3", {}, "Last runs"), ...runs.map(ran)].filter((part) => part instanceof Node);
}

/** @param {import("./main.js").Page} page @param {Row} schedule @param {() => any} done */
function scheduled(page, schedule, done) {
  const { prompt, enabled, paused_reason, next_run_at } = schedule;
  return h(
    "div",
    { class: "work" },
    h("span", { class: "clipped", title: prompt }, prompt),
    h("span", { class: paused_reason ? "wrong" : "quiet" }, rhythm(schedule), paused_reason ? ` · paused: ${paused_reason}` : enabled ? " · next " : " · off", enabled ? when(next_run_at) : ""),
    mayAct(page) && button("Run now…", () => trigger(page, schedule, done)),
  );
}

/** @param {Row} run */
function ran({ status, created_at, duration_ms, response, error_message }) {
  const came = error_message ?? response ?? "";
  return h("div", { class: "work" }, h("span", {}, h("b", { class: status === "error" ? "wrong" : null }, status), came && h("span", { class: "quiet" }, ` · ${came}`)), h("span", { class: "quiet" }, when(created_at), duration_ms === null ? "" : `, took ${span(duration_ms)}`));
}
