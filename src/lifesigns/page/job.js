/** Jobs: those that somebody must decide on, or that nobody works on any more, first. */

import { mayAct } from "./action.js";
import { confirm } from "./dialog.js";
import { h } from "./element.js";
import { List, rowButton } from "./list.js";
import { link } from "./route.js";
import { when } from "./time.js";

const PAGE = 100;
const PAGES = 5;

/** @typedef {import("./list.js").Row} Row */

/** @param {Row} job */
function worry(job) {
  if (job.status === "DISPUTED") return 4;
  if (job.disputable) return 3;
  if (job.inactive) return 2;
  return job.status === "IN_REVIEW" ? 1 : 0;
}

/** Say what is wrong with a job, if anything. @param {Row} job */
export function trouble(job) {
  if (job.disputable) return h("span", { class: "wrong" }, "silent, may be disputed or reclaimed");
  if (job.inactive) return h("span", { class: "wrong" }, "silent since ", when(job.inactiveSince));
  return job.status === "IN_REVIEW" ? "waits for a decision" : "";
}

export class Jobs extends List {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    super(page, {
      title: "Jobs",
      nothing: "There is no job.",
      load: ({ hub }) => all(hub),
      worry,
      text: ({ id, title, status, agentId, posterId }) => [id, title, status, agentId, posterId].join(" "),
      columns: [
        ["Job", ({ title, id }) => h("span", { class: "name", title: id }, title || id)],
        ["Status", ({ status }) => status.toLowerCase().replace("_", " ")],
        ["", trouble],
        [
          "Agent",
          ({ agentId }) => (agentId ? h("a", { href: link("agent", { name: agentId }), class: "id" }, agentId) : ""),
        ],
        ["For", ({ posterId }) => posterId ?? ""],
        ["Last beat", ({ lastHeartbeatAt }) => when(lastHeartbeatAt)],
        ["Deadline", ({ deadlineAt }) => when(deadlineAt || null)],
        [
          "",
          (job, list) =>
            h(
              "div",
              { class: "actions" },
              mayAct(list.page) && job.disputable && rowButton(job.id, "Reclaim", () => reclaim(list, job)),
            ),
        ],
      ],
    });
  }
}

/** @param {import("../javascript/lifesigns.js").Hub} hub @returns {Promise<Row[]>} */
async function all(hub) {
  const found = [];
  let cursor = "";
  for (let page = 0; page < PAGES; page += 1) {
    const { data, meta } = await hub.call(
      "GET",
      `/jobs?limit=${PAGE}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    found.push(...data);
    cursor = meta.nextCursor;
    if (!cursor) break;
  }
  return found;
}

/** @param {List} list @param {Row} job */
function reclaim(list, { id, title, agentId }) {
  confirm(
    "Reclaim this job?",
    `${title || id} is taken from ${agentId} and is open for others.`,
    "Reclaim",
    async () => {
      await list.page.hub.call("POST", `/jobs/${encodeURIComponent(id)}/reclaim`, {});
      await list.load();
    },
  );
}
