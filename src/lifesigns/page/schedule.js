/** Schedules: those that were paused or whose last run failed first; a run can be begun by hand. */

import { mayAct } from "./action.js";
import { confirm } from "./dialog.js";
import { h } from "./element.js";
import { List, rowButton } from "./list.js";
import { link } from "./route.js";
import { nowMs, when } from "./time.js";

const LATE_MS = 60_000;
const BASE = "/v1/bot/heartbeat";

/** @typedef {import("./list.js").Row} Row */

/** @param {Row} schedule */
function late({ enabled, next_run_at }) {
  return enabled && next_run_at && nowMs() - Date.parse(next_run_at) > LATE_MS;
}

/** @param {Row} schedule */
function worry(schedule) {
  if (schedule.paused_reason) return 3;
  if (late(schedule)) return 2;
  return schedule.enabled && schedule.last_status === "error" ? 1 : 0;
}

/** @param {Row} schedule */
function stands(schedule) {
  const { enabled, paused_reason, last_status, consecutive_errors } = schedule;
  if (paused_reason) return h("span", { class: "wrong" }, `paused: ${paused_reason}`);
  if (!enabled) return h("span", { class: "quiet" }, "off");
  if (late(schedule)) return h("span", { class: "wrong" }, "late");
  if (last_status === "error")
    return h(
      "span",
      { class: "wrong" },
      consecutive_errors > 1 ? `failed ${consecutive_errors} times in a row` : "failed last time",
    );
  return last_status ?? "has not run yet";
}

/** Spell when it runs. @param {Row} schedule */
export function rhythm({
  cron_pattern,
  interval_minutes,
  active_hours_start,
  active_hours_end,
  active_days,
  timezone,
}) {
  const parts = [cron_pattern ?? `every ${interval_minutes} min`];
  if (active_hours_start) parts.push(`${active_hours_start}–${active_hours_end}`);
  if (active_days) parts.push(String(active_days));
  if (cron_pattern || parts.length > 1) parts.push(timezone);
  return parts.join(", ");
}

export class Schedules extends List {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    super(page, {
      title: "Schedules",
      nothing: "No agent has a schedule.",
      load: async ({ hub }) => (await hub.call("GET", "/v1/schedules")).schedules,
      worry,
      text: ({ agent, prompt, uuid, project_id, last_status }) =>
        [agent, prompt, uuid, project_id, last_status].join(" "),
      columns: [
        ["Agent", ({ agent }) => h("a", { href: link("agent", { name: agent }), class: "id name" }, agent)],
        ["Prompt", ({ prompt }) => h("span", { class: "clipped", title: prompt }, prompt)],
        ["When", rhythm],
        ["Stands", stands],
        ["Last run", ({ last_executed_at }) => when(last_executed_at)],
        ["Next run", ({ enabled, next_run_at }) => when(enabled ? next_run_at : null)],
        [
          "Runs",
          ({ execution_count, error_count }) => `${execution_count}${error_count ? `, ${error_count} failed` : ""}`,
        ],
        [
          "",
          (schedule, list) =>
            h(
              "div",
              { class: "actions" },
              mayAct(list.page) && [
                rowButton(schedule.uuid, "Run now", () => trigger(list.page, schedule, () => list.load())),
                rowButton(schedule.uuid, schedule.enabled ? "Pause" : "Enable", () => turn(list, schedule)),
              ],
            ),
        ],
      ],
    });
  }
}

/** @param {Row} schedule */
function place({ project_id, bot_id, uuid }) {
  return { project_id, bot_id, heartbeat_id: uuid };
}

/** Begin a run, and say what came of it as far as it is known at once.
 * @param {import("./main.js").Page} page @param {Row} schedule @param {() => any} done */
export function trigger(page, schedule, done) {
  confirm("Run it now?", `${schedule.agent} is woken with: ${schedule.prompt}`, "Run now", async () => {
    await page.hub.call("POST", `${BASE}/trigger`, { ...place(schedule), wait: 0 });
    await done();
  });
}

/** @param {List} list @param {Row} schedule */
function turn(list, schedule) {
  const { enabled, agent } = schedule;
  const text = enabled
    ? `${agent} is not woken by it any more until it is enabled.`
    : `${agent} is woken by it again, for the first time one interval from now.`;
  confirm(enabled ? "Pause this schedule?" : "Enable this schedule?", text, enabled ? "Pause" : "Enable", async () => {
    await list.page.hub.call("POST", `${BASE}/${enabled ? "disable" : "enable"}`, place(schedule));
    await list.load();
  });
}
