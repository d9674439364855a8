/** All agents as a table: searched, filtered and sorted, by an address that can be shared. */

import { fill, h, write } from "./element.js";
import { GROUPINGS, judgeOf, listed, toggled } from "./filter.js";
import { KEYS, Order } from "./order.js";
import { ask, go, kept, link, read } from "./route.js";
import { Rows } from "./rows.js";
import { STATES, badge, glyph } from "./state.js";
import { when } from "./time.js";

/** @typedef {import("../javascript/mirror.js").Presence} Presence */

/** @type {[string, string][]} what it is sorted by, and its heading */
const COLUMNS = [
  ["state", "State"],
  ["id", "Agent"],
  ["status", "Status"],
  ["", "Task"],
  ["group", "Group"],
  ["capability", "Capabilities"],
  ["dialect", "Dialect"],
  ["", "Host"],
  ["", "Last beat"],
];
/** @type {[string, string][]} */
const PARTS = [
  ["group", "group"],
  ["capability", "capability"],
  ["dialect", "dialect"],
];
const TYPED_MS = 120;
const REST = 4; // between two orders, so many times as long as one takes
const LEAST_REST_MS = 250;
const SETTLED_MS = 150; // after so long without scrolling, more is asked of those who are seen
const OFFERED = 100;

export class Table {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.title = "Table";
    this._fleet = page.fleet;
    this._order = new Order();
    /** @type {import("../javascript/watch.js").Watch | null} of those who are seen, whole */
    this._watch = null;
    this._typing = this._settling = this._waiting = 0;
    this._orderedAt = this._orderedFor = 0;
    this._search = h("input", {
      type: "search",
      placeholder: "Search ids, names, status, groups…",
      "aria-label": "Search agents",
      spellcheck: "false",
      oninput: () => this._typed(),
    });
    this._count = h("p", { class: "quiet", role: "status" });
    this._states = h("div", { class: "chips", role: "group", "aria-label": "States" });
    this._parts = h("div", { class: "parts" });
    this._heads = COLUMNS.map(([key, text]) => this._head(key, text));
    this._rows = new Rows(
      "Agents",
      (row, id) => this._draw(row, id),
      (id) => go(link("agent", { name: id })),
    );
    this._rows.onseen = (ids) => this._seen(ids);
    this._grid = h(
      "div",
      { class: "grid-table", role: "grid", "aria-label": "Agents", "aria-colcount": COLUMNS.length },
      h("div", { role: "rowgroup" }, h("div", { class: "row heads", role: "row", "aria-rowindex": 1 }, this._heads)),
      this._rows.root,
    );
    this.root = h(
      "div",
      { class: "table-view" },
      h("h1", { class: "unseen" }, "Agents"),
      h("div", { class: "bar" }, this._search, this._parts, this._count),
      this._states,
      h("div", { class: "panel flush" }, this._grid),
    );
    this._altered = (/** @type {Event} */ event) => this._take(/** @type {CustomEvent} */ (event).detail);
    this._fleet.addEventListener("altered", this._altered);
    this._slash = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "/" || event.target instanceof HTMLInputElement) return;
      event.preventDefault();
      this._search.focus();
    };
    addEventListener("keydown", this._slash);
    this.route();
  }

  end() {
    this._fleet.removeEventListener("altered", this._altered);
    removeEventListener("keydown", this._slash);
    for (const timer of [this._typing, this._settling, this._waiting]) clearTimeout(timer);
    this._rows.end();
    this._watch?.close();
  }

  /** What is asked of the view altered. */
  route() {
    const { query } = read(location.hash);
    this._query = query;
    this._judge = judgeOf(query);
    const sort = query.get("sort") ?? "state";
    const chosen = Object.hasOwn(KEYS, sort.replace(/^-/, "")) ? sort : "state";
    this._sort = chosen;
    const typed = query.get("q") ?? "";
    if (document.activeElement !== this._search) this._search.value = typed;
    COLUMNS.forEach(([key], i) => {
      const mine = key !== "" && chosen.replace(/^-/, "") === key;
      if (key)
        this._heads[i].setAttribute("aria-sort", mine ? (chosen.startsWith("-") ? "descending" : "ascending") : "none");
    });
    this._arrange();
    this._offer();
  }

  /** @param {string} key @param {string} text */
  _head(key, text) {
    if (!key) return h("div", { role: "columnheader" }, text);
    const sort = () => ask({ sort: this._sort === key ? `-${key}` : key === "state" ? null : key }, true);
    return h("div", { role: "columnheader" }, h("button", { type: "button", class: "head-sort", onclick: sort }, text));
  }

  _typed() {
    clearTimeout(this._typing);
    this._typing = setTimeout(() => ask({ q: this._search.value.trim() || null }, true), TYPED_MS);
  }

  /** @param {{ids: Set<string>, anew: boolean}} altered */
  _take({ ids, anew }) {
    for (const id of ids) if (!this._fleet.agents.has(id)) this._order.upset();
    if (anew) this._order.upset();
    this._rows.redraw(anew ? undefined : ids);
    if (this._waiting) return;
    const waitMs = Math.max(LEAST_REST_MS, REST * this._orderedFor) - (performance.now() - this._orderedAt);
    this._waiting = setTimeout(
      () => {
        this._waiting = 0;
        this._arrange();
        if (anew) this._offer();
      },
      Math.max(0, waitMs),
    );
  }

  _arrange() {
    const begun = performance.now();
    // Nobody can point at a row that jumps: while one is pointed at, those there keep their places.
    if (this._rows.root.matches(":hover") && this._former === this._query?.toString()) {
      this._held = true;
    } else {
      this._held = false;
      this._former = this._query?.toString();
      const ids = this._order.of(this._fleet.agents, this._judge ?? null, this._sort ?? "state");
      this._shown = ids.length;
      this._rows.fill(ids);
      this._grid.setAttribute("aria-rowcount", String(ids.length + 1));
    }
    const { total } = this._fleet;
    const count = this._judge
      ? `${(this._shown ?? 0).toLocaleString()} of ${total.toLocaleString()} agents`
      : `${total.toLocaleString()} agents`;
    write(this._count, this._held ? `${count}; the order is held while you point at it` : count);
    fill(
      this._states,
      STATES.map(({ name }) => this._chip(name)),
    );
    this._orderedAt = performance.now();
    this._orderedFor = this._orderedAt - begun;
  }

  /** @param {string} name */
  _chip(name) {
    const on = listed(/** @type {URLSearchParams} */ (this._query), "state").has(name);
    const count = this._fleet.count(name);
    return h(
      "button",
      {
        type: "button",
        class: `chip${count ? "" : " none"}`,
        "aria-pressed": String(on),
        onclick: () => ask({ state: toggled(read(location.hash).query, "state", name) }),
      },
      glyph(name),
      `${name} `,
      h("b", {}, count.toLocaleString()),
    );
  }

  /** Offer the words by which can be filtered. */
  _offer() {
    const query = /** @type {URLSearchParams} */ (this._query);
    const anything = Object.values(kept(query)).some(Boolean);
    fill(
      this._parts,
      PARTS.map(([part, name]) => {
        const chosen = query.get(part) ?? "";
        const words = new Set([...this._fleet.agents.values()].map(GROUPINGS[part]));
        if (chosen) words.add(chosen);
        const offered = [...words].sort().slice(0, OFFERED);
        return h(
          "label",
          { class: "choice" },
          h("span", { class: "unseen" }, name),
          h(
            "select",
            {
              onchange: (/** @type {Event} */ event) =>
                ask({ [part]: /** @type {HTMLSelectElement} */ (event.target).value || null }),
            },
            h("option", { value: "" }, `any ${name}`),
            offered.map((word) => h("option", { value: word, selected: word === chosen }, word)),
          ),
        );
      }),
      anything && h("a", { href: link("table") }, "Show all"),
    );
  }

  /** @param {string[]} ids */
  _seen(ids) {
    clearTimeout(this._settling);
    this._settling = setTimeout(() => {
      this._watch?.close();
      this._watch = null;
      if (!ids.length) return;
      const drawn = () => this._rows.redraw();
      this._watch = this._fleet.hub.watch({ ids }, { detail: "full", told: drawn });
      this._watch.ready.then(drawn, () => {});
    }, SETTLED_MS);
  }

  /** @param {HTMLElement} row @param {string} id */
  _draw(row, id) {
    const shown = this._fleet.agents.get(id);
    if (!shown) return row.replaceChildren();
    const whole = this._watch?.agents.get(id);
    const detail = whole && whole.seq >= shown.seq && whole.epoch === shown.epoch ? whole : { ...whole, ...shown };
    const stamp = JSON.stringify([id, shown.seq, shown.epoch, detail.task, detail.host, detail.last_heartbeat]);
    if (row.dataset.stamp === stamp) return;
    row.dataset.stamp = stamp;
    fill(
      row,
      [
        badge(shown.state),
        h("a", { href: link("agent", { name: id }), class: "id", tabindex: -1 }, id),
        said(shown.status),
        said(detail.task),
        said(shown.group),
        said(shown.capabilities?.join(", ")),
        said(shown.dialect),
        said(detail.host),
        detail.last_heartbeat ? when(detail.last_heartbeat) : "",
      ].map((cell, i) =>
        h(
          "div",
          { role: "gridcell", "aria-colindex": i + 1 },
          cell,
          i === 1 && shown.name ? h("span", { class: "quiet" }, ` ${shown.name}`) : "",
        ),
      ),
    );
  }
}

/** @param {string | null | undefined} text */
function said(text) {
  return h("span", { title: text ?? null }, text ?? "");
}
