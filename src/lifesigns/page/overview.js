/** The fleet at a glance: what is wrong, how many are in which state, who, and what just happened. */

import { Chart, short } from "./chart.js";
import { choice, fill, h, speak, write } from "./element.js";
import { Feed, reasonOf } from "./feed.js";
import { GROUPINGS, judgeOf, listed, toggled } from "./filter.js";
import { FleetMap } from "./map.js";
import { ask, go, kept, link, read } from "./route.js";
import { STATES, URGENT, badge, glyph } from "./state.js";
import { nowMs, when } from "./time.js";

/** @typedef {import("./fleet.js").Fleet} Fleet */

const STATS_MS = 5_000; // between two questions; the hub looks at all agents for an answer,
const STATS_REST = 10; // so that it rests many times as long as that took
const CHART_MS = 15 * 60_000;
const HOVER_MS = 120;
/** @type {[string, string][]} */
const CHOICES = [
  ["capability", "capability"],
  ["dialect", "dialect"],
  ["group", "group"],
  ["prefix", "first part of the id"],
];

export class Overview {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this._page = page;
    this._fleet = page.fleet;
    const { query } = read(location.hash);
    this._headline = h("h1", { class: "headline" });
    this._tiles = STATES.map((state) => this._tile(state));
    this._canvas = h("canvas", { tabindex: 0, role: "img", "aria-describedby": "map-help" });
    this._tip = h("div", { class: "tip", hidden: true });
    this._scroll = h("div", { class: "map-scroll" }, this._canvas, this._tip);
    this._map = new FleetMap(this._canvas, this._fleet, () => Math.max(300, Math.min(innerHeight * 0.56, 640)));
    this._feed = new Feed(this._fleet, query.get("feed") ?? "");
    this._alive = new Chart("Agents alive, last 15 minutes", [{ name: "alive", look: "s-busy" }]);
    this._changes = new Chart("Changes a second, last 15 minutes", [{ name: "changes/s", look: "c-changes" }]);
    this._nodes = h("tbody");
    this._numbers = h("p", { class: "numbers" });
    this._grouping = h("span");
    this._shown = h("span", { class: "quiet" });
    this.title = "Overview";
    this.root = this._laid();
    this._hovering = 0;
    this._hovered = "";
    this._altered = (/** @type {Event} */ event) => this._take(/** @type {CustomEvent} */ (event).detail);
    this._onmeasured = () => this._measured();
    this._bind();
    this.route();
    this._draw();
    this._measured();
    this._asking = false;
    this._timer = 0;
    this._ask();
  }

  end() {
    clearTimeout(this._timer);
    this._asking = true; // for ever: nothing is asked any more
    clearTimeout(this._hovering);
    this._fleet.removeEventListener("altered", this._altered);
    this._fleet.removeEventListener("measured", this._onmeasured);
    for (const part of [this._map, this._feed, this._alive, this._changes]) part.end();
  }

  connected() {
    this._ask();
  }

  recolour() {
    this._map.recolour();
  }

  /** What is asked of the view altered. */
  route() {
    const { query } = read(location.hash);
    const judge = judgeOf(query);
    const states = listed(query, "state");
    this._tiles.forEach((tile, rank) => tile.setAttribute("aria-pressed", String(states.has(STATES[rank].name))));
    const by = query.get("by") ?? "";
    const grouping = Object.hasOwn(GROUPINGS, by) ? by : "capability";
    fill(
      this._grouping,
      choice("by", CHOICES, grouping, (value) => ask({ by: value === "capability" ? null : value }, true)),
    );
    this._map.group(grouping);
    this._map.judge(judge);
    this._feed.judge(judge, query.get("feed") ?? "");
    this._filtered = judge;
    this._draw();
  }

  _laid() {
    const help = h(
      "p",
      { class: "unseen", id: "map-help" },
      "One cell an agent. Arrow keys go from cell to cell, Enter opens the agent.",
    );
    return h(
      "div",
      { class: "overview" },
      h("div", { class: "head" }, this._headline, this._numbers),
      h("div", { class: "tiles", role: "group", "aria-label": "Agents by state; each is a filter" }, this._tiles),
      h(
        "section",
        { class: "panel map", "aria-labelledby": "map-title" },
        h("header", {}, h("h2", { id: "map-title" }, "Fleet"), this._shown, this._grouping),
        help,
        this._scroll,
      ),
      this._feed.root,
      h(
        "section",
        { class: "panel", "aria-label": "Agents alive" },
        h("header", {}, h("h2", {}, "Alive")),
        this._alive.root,
      ),
      h(
        "section",
        { class: "panel", "aria-label": "Changes a second" },
        h("header", {}, h("h2", {}, "Changes a second")),
        this._changes.root,
      ),
      h(
        "section",
        { class: "panel hubs", "aria-labelledby": "hubs-title" },
        h("header", {}, h("h2", { id: "hubs-title" }, "Hubs")),
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ["Hub", "Agents here", "Lag", "Since"].map((name) => h("th", { scope: "col" }, name)),
            ),
          ),
          this._nodes,
        ),
      ),
    );
  }

  /** @param {import("./state.js").State} state */
  _tile({ name, means, urgent }) {
    return h(
      "button",
      {
        type: "button",
        class: `tile s-${name}${urgent ? " urgent" : ""}`,
        title: means,
        "aria-pressed": "false",
        onclick: () => ask({ state: toggled(read(location.hash).query, "state", name) }),
      },
      h("span", { class: "tile-count" }, "0"),
      h("span", { class: "tile-name" }, glyph(name), name),
    );
  }

  /** @param {{ids: Set<string>, anew: boolean}} altered */
  _take({ ids, anew }) {
    this._map.take(ids, anew);
    if (anew) this._ask();
    if (anew) this._feed.refill();
    else this._feed.take();
    this._draw();
  }

  _bind() {
    this._fleet.addEventListener("altered", this._altered);
    this._fleet.addEventListener("measured", this._onmeasured);
    this._map.onlayout = () => this._label();
    this._canvas.addEventListener("pointermove", (event) =>
      this._hover(this._map.layout.at(event.offsetX, event.offsetY) ?? ""),
    );
    this._canvas.addEventListener("pointerleave", () => this._hover(""));
    this._canvas.addEventListener("blur", () => this._hover(""));
    this._canvas.addEventListener("click", (event) => {
      const id = this._map.layout.at(event.offsetX, event.offsetY);
      if (id) go(link("agent", { name: id }));
    });
    this._canvas.addEventListener("keydown", (event) => this._press(event));
  }

  _draw() {
    const { counts, total, known } = this._fleet;
    this._tiles.forEach((tile, rank) => {
      const count = /** @type {Element} */ (tile.firstElementChild);
      write(count, counts[rank].toLocaleString());
      tile.classList.toggle("none", counts[rank] === 0);
      tile.setAttribute("aria-label", `${counts[rank]} ${STATES[rank].name}: ${STATES[rank].means}`);
    });
    const wrong = URGENT.map((state) => [this._fleet.count(state), state]).filter(([count]) => count);
    const sum = wrong.reduce((all, [count]) => all + Number(count), 0);
    let text = "Looking for the fleet";
    if (known && !total) text = "No agent has been here yet";
    else if (known && sum)
      text = `${sum.toLocaleString()} of ${this._fleet.alive.toLocaleString()} need${sum === 1 ? "s" : ""} attention`;
    else if (known) text = this._fleet.alive ? "All is well" : "Nobody is alive";
    write(this._headline, text);
    this._headline.classList.toggle("wrong", sum > 0);
  }

  _label() {
    const { total, agents } = this._fleet;
    let matching = total;
    if (this._filtered) {
      matching = 0;
      for (const shown of agents.values()) if (this._filtered(shown)) matching += 1;
    }
    const text = this._filtered
      ? `${matching.toLocaleString()} of ${total.toLocaleString()} match`
      : `${total.toLocaleString()} ${total === 1 ? "agent" : "agents"}`;
    const table = h("a", { href: link("table", { query: kept(read(location.hash).query) }) }, "as a table");
    fill(this._shown, text, " · ", table);
    this._canvas.setAttribute("aria-label", `Map of the fleet: ${text}.`);
  }

  /** @param {string} id @param {boolean} [spoken] */
  _hover(id, spoken = false) {
    if (id === this._hovered) return;
    this._hovered = id;
    this._map.mark(id);
    this._canvas.style.cursor = id ? "pointer" : "default";
    clearTimeout(this._hovering);
    const shown = this._fleet.agents.get(id);
    const place = this._map.layout.placeOf(id);
    this._tip.hidden = !shown || !place;
    if (!shown || !place) return;
    this._tell(shown);
    const { pitch, width } = this._map.layout;
    const left = Math.max(0, Math.min(place.x + pitch / 2 - 120, width - 250));
    this._tip.style.left = `${left}px`;
    this._tip.style.top = `${place.y + pitch + 6}px`;
    if (spoken) speak(`${shown.id}: ${shown.state}${shown.status ? `, ${shown.status}` : ""}`);
    this._hovering = setTimeout(async () => {
      const found = await this._fleet.hub.check(id).catch(() => null); // what is known already stays
      if (found?.[id]?.known && this._hovered === id) this._tell(found[id]);
    }, HOVER_MS);
  }

  /** @param {Record<string, any>} shown */
  _tell(shown) {
    const why = reasonOf(shown);
    fill(
      this._tip,
      h("p", { class: "id" }, shown.id),
      h("p", {}, badge(shown.state), shown.status ? ` “${shown.status}”` : ""),
      why && h("p", { class: "why" }, why),
      h(
        "p",
        { class: "quiet" },
        [shown.name, shown.dialect, shown.group, shown.capabilities?.join(", ")].filter(Boolean).join(" · "),
      ),
      shown.last_heartbeat && h("p", { class: "quiet" }, "last beat ", when(shown.last_heartbeat)),
    );
  }

  /** @param {KeyboardEvent} event */
  _press(event) {
    const way = /** @type {"left" | "right" | "up" | "down" | undefined} */ (
      { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" }[event.key]
    );
    if (way) {
      event.preventDefault();
      const id = this._map.layout.next(this._hovered, way);
      if (id) this._hover(id, true);
    } else if (event.key === "Enter" && this._hovered) {
      go(link("agent", { name: this._hovered }));
    } else if (event.key === "Escape") {
      this._hover("");
    }
  }

  _measured() {
    const to = nowMs();
    const { points } = this._fleet;
    this._alive.show(
      points.map(({ at, alive }) => ({ at, values: [alive] })),
      to - CHART_MS,
      to,
    );
    const counted = points.flatMap(({ at, changes }) => (changes === null ? [] : [{ at, values: [changes] }]));
    this._changes.show(counted, to - CHART_MS, to);
  }

  async _ask() {
    // First who is there: the rest would only make that come later.
    if (this._asking || !this._fleet.known) return;
    this._asking = true;
    clearTimeout(this._timer);
    const begun = performance.now();
    const stats = await this._page.ask("GET", "/v1/stats").catch(() => null); // the line tells why
    if (!this.root.isConnected) return;
    this._asking = false;
    this._timer = setTimeout(() => this._ask(), Math.max(STATS_MS, STATS_REST * (performance.now() - begun)));
    if (!stats) return;
    this._page.banners.take(stats);
    const { beats_per_s, changes_per_s, claims, watchers, store } = stats;
    fill(
      this._numbers,
      [
        [short(beats_per_s), "beats/s"],
        [short(changes_per_s), "changes/s"],
        [short(claims), "claims"],
        [short(watchers), "watchers"],
        [`${short(store.ping_ms)} ms`, "store"],
      ].map(([value, name]) => h("span", {}, h("b", {}, value), ` ${name}`)),
    );
    fill(
      this._nodes,
      stats.nodes.map((/** @type {any} */ node) =>
        h(
          "tr",
          {},
          h("td", { class: "id" }, node.id),
          h("td", { class: "number" }, node.agents.toLocaleString()),
          h("td", { class: node.lag_ms > 1000 ? "number wrong" : "number" }, `${node.lag_ms} ms`),
          h("td", {}, when(node.since)),
        ),
      ),
    );
  }
}
