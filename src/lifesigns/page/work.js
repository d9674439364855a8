/** What an agent has to do: its jobs and slots, its schedules, and the last of their runs. */

import { button, mayAct } from "./action.js";
import { h } from "./element.js";
import { trouble } from "./job.js";
import { rhythm, trigger } from "./schedule.js";
import { span, when } from "./time.js";

const RUNS = 8;
const JOBS = 20;
const OVER = new Set(["COMPLETED", "CANCELLED"]);
const SLOTS_OVER = new Set(["SUBMITTED", "WITHDRAWN"]);

/** @typedef {Record<string, any>} Row */

/**
 * Ask for it; nothing if there is nothing.
 * @param {import("./main.js").Page} page @param {string} agent @param {() => any} done after an action
 * @returns {Promise<(Node | string)[]>}
 */
export async function workOf(page, agent, done) {
  const name = encodeURIComponent(agent);
  const [{ data }, { schedules }, { runs }, { slots }] = await Promise.all([
    page.hub.call("GET", `/agents/${name}/jobs?limit=${JOBS}`),
    page.hub.call("GET", `/v1/schedules?agent=${name}`),
    page.hub.call("GET", `/v1/runs?agent=${name}&status=any&limit=${RUNS}`),
    // Only an admin's key sees all slots, and an agent's none but its own.
    mayAct(page) ? page.hub.call("GET", "/api/v2/slots") : { slots: [] },
  ]);
  const open = data.filter((/** @type {Row} */ { status }) => !OVER.has(status));
  const mine = slots.filter(
    (/** @type {Row} */ { agent: holder, status }) => holder === agent && !SLOTS_OVER.has(status),
  );
  const parts = [
    ...part("Jobs", open.map(worked)),
    ...part("Slots", mine.map(granted)),
    ...part(
      "Schedules",
      schedules.map((/** @type {Row} */ each) => scheduled(page, each, done)),
    ),
    ...part("Last runs", runs.map(ran)),
  ];
  return parts.length ? parts : [h("p", { class: "quiet" }, "It has no job, no slot and no schedule.")];
}

/** @param {string} title @param {Node[]} rows @returns {Node[]} */
function part(title, rows) {
  return rows.length ? [h("h3", {}, title), ...rows] : [];
}

/** @param {Row} job */
function worked(job) {
  const { title, id, status, lastHeartbeatAt } = job;
  return h(
    "div",
    { class: "work" },
    h("span", { class: "clipped", title: id }, title || id),
    h(
      "span",
      { class: "quiet" },
      status.toLowerCase().replace("_", " "),
      " · last beat ",
      when(lastHeartbeatAt),
      " ",
      trouble(job),
    ),
  );
}

/** @param {Row} slot */
function granted({ bountyId, status, nearDeadline, acknowledgementDeadlineAt, fairWorkDeadlineAt, acknowledgedAt }) {
  const wrong = nearDeadline || status === "MISSED";
  return h(
    "div",
    { class: "work" },
    h("span", {}, bountyId),
    h(
      "span",
      { class: wrong ? "wrong" : "quiet" },
      status.toLowerCase().replace("_", " "),
      " · deadline ",
      when(acknowledgedAt ? fairWorkDeadlineAt : acknowledgementDeadlineAt),
    ),
  );
}

/** @param {import("./main.js").Page} page @param {Row} schedule @param {() => any} done */
function scheduled(page, schedule, done) {
  const { prompt, enabled, paused_reason, next_run_at } = schedule;
  return h(
    "div",
    { class: "work" },
    h("span", { class: "clipped", title: prompt }, prompt),
    h(
      "span",
      { class: paused_reason ? "wrong" : "quiet" },
      rhythm(schedule),
      paused_reason ? ` · paused: ${paused_reason}` : enabled ? " · next " : " · off",
      enabled ? when(next_run_at) : "",
    ),
    mayAct(page) && button("Run now…", () => trigger(page, schedule, done)),
  );
}

/** @param {Row} run */
function ran({ status, created_at, duration_ms, response, error_message }) {
  const came = error_message ?? response ?? "";
  return h(
    "div",
    { class: "work" },
    h(
      "span",
      {},
      h("b", { class: status === "error" ? "wrong" : null }, status),
      came && h("span", { class: "quiet" }, ` · ${came}`),
    ),
    h("span", { class: "quiet" }, when(created_at), duration_ms === null ? "" : `, took ${span(duration_ms)}`),
  );
}
