/** Webhooks, and what became of each message to one: those in trouble first, and sent again by hand. */

import { button, mayAct } from "./action.js";
import { confirm } from "./dialog.js";
import { h } from "./element.js";
import { List, rowButton } from "./list.js";
import { link, read } from "./route.js";
import { when } from "./time.js";

const DELIVERIES = 200;
const FAILED = "failed";
const RETRYING = "retrying";
const AGAIN = new Set([FAILED, RETRYING, "delivered"]);

/** @typedef {import("./list.js").Row} Row */

/** @param {Row} hook */
function worry({ enabled, disabled_reason, health }) {
  if (!enabled) return disabled_reason ? 4 : 0;
  return health.circuit === "open" ? 3 : health.failures ? 2 : 0;
}

/** @param {Row} hook */
function stands({ enabled, disabled_reason, health }) {
  if (!enabled)
    return h(
      "span",
      { class: disabled_reason ? "wrong" : "quiet" },
      disabled_reason ? `switched off: ${disabled_reason}` : "switched off",
    );
  if (!health.failures) return "well";
  return h(
    "span",
    { class: "wrong" },
    `${health.failures} failed in a row: ${health.last_error ?? "no answer"}, since `,
    when(health.failing_since),
  );
}

/** @type {import("./list.js").Kind} */
const HOOKS = {
  title: "Webhooks",
  nothing: "Nobody is told of anything by webhook.",
  admin: true,
  load: async ({ hub }) => (await hub.call("GET", "/v1/webhooks")).webhooks,
  worry,
  text: ({ name, url, events, id }) => [name, url, id, ...events].join(" "),
  columns: [
    ["To", ({ name, url, id }) => h("a", { href: link("webhooks", { name: id }), class: "name" }, name ?? "(no name)")],
    ["Address", ({ url }) => h("span", { class: "id" }, url)],
    ["Told of", ({ events }) => events.join(", ")],
    ["Health", stands],
    [
      "",
      (hook, list) =>
        h(
          "div",
          { class: "actions" },
          mayAct(list.page) && [
            rowButton(hook.id, "Test", () => test(list, hook)),
            rowButton(hook.id, hook.enabled ? "Switch off" : "Switch on", () => turn(list, hook)),
            rowButton(hook.id, "Drop", () => drop(list, hook), "danger"),
          ],
        ),
    ],
  ],
  tools: (list) => [button("New webhook…", () => create(list))],
};

/** @param {string} id @returns {import("./list.js").Kind} */
function deliveries(id) {
  const path = `/v1/webhooks/${encodeURIComponent(id)}`;
  return {
    title: "Deliveries",
    nothing: "Nothing was sent to it yet.",
    admin: true,
    load: async ({ hub }) => (await hub.call("GET", `${path}/deliveries?limit=${DELIVERIES}`)).deliveries,
    worry: ({ state }) => (state === FAILED ? 2 : state === RETRYING ? 1 : 0),
    text: ({ event, agent, state, id: name }) => [event, agent, state, name].join(" "),
    columns: [
      ["Event", ({ event }) => h("span", { class: "name" }, event)],
      ["Agent", ({ agent }) => (agent ? h("a", { href: link("agent", { name: agent }), class: "id" }, agent) : "")],
      ["State", ({ state }) => h("span", { class: state === FAILED ? "wrong" : null }, state)],
      ["Made", ({ created_at }) => when(created_at)],
      ["Last try", ({ attempts }) => last(attempts)],
      ["Next", ({ next_attempt_at }) => when(next_attempt_at)],
      [
        "",
        (each, list) =>
          h(
            "div",
            { class: "actions" },
            mayAct(list.page) &&
              AGAIN.has(each.state) &&
              rowButton(each.id, "Send again", () => resend(list, path, each)),
          ),
      ],
    ],
    tools: () => [h("a", { href: link("webhooks") }, "All webhooks")],
  };
}

/** @param {Row[]} attempts */
function last(attempts) {
  const tried = attempts.at(-1);
  if (!tried) return h("span", { class: "quiet" }, "none yet");
  const times = attempts.length > 1 ? ` (${attempts.length} tries)` : "";
  return h(
    "span",
    { title: tried.answer ?? null },
    `${tried.error ?? tried.status}${times}, ${tried.took_ms} ms, `,
    when(tried.at),
  );
}

export class Webhooks extends List {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    const { name } = read(location.hash);
    super(page, name ? deliveries(name) : HOOKS);
  }
}

/** @param {List} list @param {Row} hook */
function test(list, { id, url }) {
  confirm("Send a test?", `A message is sent to ${url} now.`, "Send it", async () => {
    const { state, attempts } = await list.page.hub.call("POST", `/v1/webhooks/${encodeURIComponent(id)}/test`, {});
    await list.load();
    const tried = attempts.at(-1);
    confirm("The test", `${state}: ${tried?.error ?? tried?.status ?? "not tried yet"}`, "Good", async () => {});
  });
}

/** @param {List} list @param {Row} hook */
function turn(list, { id, enabled }) {
  const text = enabled
    ? "It is told nothing more until it is switched on; what happens meanwhile is not sent later."
    : "It is told of what happens from now on.";
  confirm(enabled ? "Switch it off?" : "Switch it on?", text, enabled ? "Switch off" : "Switch on", async () => {
    await list.page.hub.call("PATCH", `/v1/webhooks/${encodeURIComponent(id)}`, { enabled: !enabled });
    await list.load();
  });
}

/** @param {List} list @param {Row} hook */
function drop(list, { id, name, url }) {
  confirm(
    "Drop this webhook?",
    `${name ?? url} is told nothing more, and its deliveries are gone.`,
    "Drop",
    async () => {
      await list.page.hub.call("DELETE", `/v1/webhooks/${encodeURIComponent(id)}`);
      await list.load();
    },
  );
}

/** @param {List} list @param {string} path @param {Row} delivery */
function resend(list, path, { id, event }) {
  confirm("Send it again?", `The message of ${event} is sent once more, with the same id.`, "Send again", async () => {
    await list.page.hub.call("POST", `${path}/deliveries/${encodeURIComponent(id)}/resend`, {});
    await list.load();
  });
}

/** @param {List} list */
function create(list) {
  /** @type {[string, string][]} */
  const fields = [
    ["url", "Address"],
    ["events", "Events, with * at the end for all that begin so"],
    ["name", "Name"],
  ];
  confirm(
    "Make a webhook",
    "Its secret, with which its messages are signed, is shown once.",
    "Make it",
    async ({ url, events, name }) => {
      const made = await list.page.hub.call("POST", "/v1/webhooks", {
        url,
        events: events.split(/[\s,]+/).filter(Boolean),
        name: name || null,
      });
      await list.load();
      confirm(
        "Its secret",
        "Copy it now: it is not shown again.",
        "I have it",
        async () => {},
        [],
        h("code", { class: "secret", tabindex: 0 }, made.secret),
      );
    },
    fields,
  );
}
