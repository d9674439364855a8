/** The keys of the project: who may come in, for how long yet, and the end of one. */

import { confirm } from "./dialog.js";
import { h } from "./element.js";
import { List, rowButton } from "./list.js";
import { button } from "./action.js";
import { link } from "./route.js";
import { nowMs, when } from "./time.js";

const SOON_MS = 7 * 86_400_000;

/** @param {Record<string, any>} key */
function worry({ expires_at }) {
  if (!expires_at) return 0;
  const leftMs = Date.parse(expires_at) - nowMs();
  return leftMs < 0 ? 2 : leftMs < SOON_MS ? 1 : 0;
}

export class Keys extends List {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    super(page, {
      title: "Keys",
      nothing: "There is no key but the root key.",
      admin: true,
      load: async ({ hub }) => (await hub.call("GET", "/v1/keys")).keys,
      worry: (key) => (key.name === "login" ? 0 : worry(key)),
      text: ({ id, name, scope, agent, poster }) => [id, name, scope, agent, poster].join(" "),
      columns: [
        ["Name", ({ name, id }) => h("span", { class: "name" }, name ?? id)],
        ["Id", ({ id }) => h("span", { class: "id" }, id)],
        ["Scope", ({ scope }) => scope],
        [
          "For",
          ({ agent, poster }) =>
            agent && !agent.endsWith("*")
              ? h("a", { href: link("agent", { name: agent }), class: "id" }, agent)
              : h("span", { class: "id" }, agent ?? poster ?? ""),
        ],
        ["Made", ({ created_at }) => when(created_at)],
        ["Ends", ({ expires_at }) => (expires_at ? when(expires_at) : h("span", { class: "quiet" }, "never"))],
        [
          "",
          (key, list) =>
            h(
              "div",
              { class: "actions" },
              key.id !== "root" && rowButton(key.id, "Revoke", () => revoke(list, key), "danger"),
            ),
        ],
      ],
      tools: (list) => [button("New key…", () => create(list))],
    });
  }
}

/** @param {List} list @param {Record<string, any>} key */
function revoke(list, { id, name }) {
  confirm(
    `Revoke the key ${name ?? id}?`,
    "Its sockets are closed within a second, and its agents go offline. This cannot be taken back.",
    "Revoke",
    async () => {
      await list.page.hub.call("DELETE", `/v1/keys/${encodeURIComponent(id)}`);
      await list.load();
    },
  );
}

/** @param {List} list */
function create(list) {
  /** @type {[string, string][]} */
  const fields = [
    ["name", "Name"],
    ["scope", "Scope: watch, agent, poster or admin"],
    ["agent", "Only for this agent (an id, or a prefix with *)"],
  ];
  confirm(
    "Make a key",
    "The key is shown once, and kept by the hub only as a hash.",
    "Make it",
    async ({ name, scope, agent }) => {
      const made = await list.page.hub.call("POST", "/v1/keys", { scope, name: name || null, agent: agent || null });
      await list.load();
      confirm(
        "The new key",
        "Copy it now: it is not shown again.",
        "I have it",
        async () => {},
        [],
        h("code", { class: "secret", tabindex: 0 }, made.key),
      );
    },
    fields,
  );
}
