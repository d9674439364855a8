/** One agent: what is known of it now, its three clocks, its past, and what an operator may do. */

import { actionsOf } from "./action.js";
import { choice, fill, h, write } from "./element.js";
import { reasonOf, said } from "./feed.js";
import { link, read } from "./route.js";
import { badge, glyph } from "./state.js";
import { exact, nowMs, span, when } from "./time.js";
import { drawDays, drawTimeline, percent } from "./timeline.js";
import { workOf } from "./work.js";

/** @typedef {import("../javascript/mirror.js").Presence} Presence */

const TOLD_MS = 400; // between two questions about its past
const REDRAWN_MS = 10_000;
const CHANGES = 60;
/** @type {[string, string][]} */
const SPANS = [
  ["900000", "15 minutes"],
  ["3600000", "1 hour"],
  ["86400000", "24 hours"],
  ["604800000", "7 days"],
];

export class Agent {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.title = "Agent";
    this._page = page;
    this.id = read(location.hash).name;
    /** @type {Presence | null} */
    this.shown = null;
    /** @type {Record<string, any>[]} */
    this._instances = [];
    /** @type {Record<string, any>} */
    this._past = { changes: [], days: [] };
    this._length = Number(SPANS[0][0]);
    this._asking = 0;
    this._head = h("header", { class: "agent-head" });
    this._clocks = h("div", { class: "clocks" });
    this._copies = h("div", { class: "copies" });
    this._band = h("div");
    this._days = h("div");
    this._sum = h("p", { class: "quiet" });
    this._facts = h("dl", { class: "facts" });
    this._claims = h("div");
    this._work = h("div", { class: "works" });
    this._words = h("div", { class: "words" });
    this._changes = h("ol", { class: "feed-rows plain" });
    this.root = h("div", { class: "agent-view" }, this._head, this._panels());
    this._watch = page.hub.watch({ ids: [this.id] }, { detail: "beats", told: (changes) => this._take(changes) });
    this._watch.ready.then(
      () => this._take([]),
      () => {},
    );
    this._ticking = setInterval(() => this._tick(), 250);
    this._redrawing = setInterval(() => this._ask(), REDRAWN_MS);
  }

  end() {
    this._watch.close();
    clearInterval(this._ticking);
    clearInterval(this._redrawing);
    clearTimeout(this._asking);
  }

  route() {}

  connected() {
    this._ask();
  }

  _panels() {
    const spans = choice("over", SPANS, SPANS[0][0], (value) => {
      this._length = Number(value);
      this._drawPast();
    });
    return [
      h(
        "div",
        { class: "column" },
        panel("Signs of life", "signs", this._clocks, this._copies),
        panel("Claims on it", "claims", this._claims),
        panel("Work", "work", this._work),
        panel("What it says", "words", this._words),
        panel("About it", "about", this._facts),
      ),
      h(
        "div",
        { class: "column" },
        panel("States", "states", spans, this._band, this._sum, this._days),
        panel("Last changes", "past", this._changes),
      ),
    ];
  }

  /** @param {Record<string, any>[]} changes */
  _take(changes) {
    const beat = changes.findLast(({ kind }) => kind === "beat");
    this.shown = this._watch.agents.get(this.id) ?? null;
    if (this.shown && beat) {
      const copy = this._instances.find(({ instance }) => instance === beat.instance);
      if (copy) Object.assign(copy, { last_heartbeat: beat.at, expires_at: beat.expires_at });
      if (beat.at > this.shown.last_heartbeat)
        Object.assign(this.shown, { last_heartbeat: beat.at, expires_at: beat.expires_at });
    }
    this._tick();
    if (changes.length && changes.every(({ kind }) => kind === "beat")) return;
    this._draw();
    this._asking ||= setTimeout(() => this._ask(), changes.length ? TOLD_MS : 0);
  }

  async _ask() {
    clearTimeout(this._asking);
    this._asking = 0;
    const name = encodeURIComponent(this.id);
    if (!this.shown) return;
    try {
      const [whole, past, { claims }, work] = await Promise.all([
        this._page.hub.call("GET", `/v1/pulse/${name}?expand=instances`),
        this._page.hub.call("GET", `/v1/pulse/${name}/history`),
        this._page.hub.call("GET", `/v1/claims?agent=${name}`),
        workOf(this._page, this.id, () => this._ask()),
      ]);
      this._instances = whole.instances;
      this._past = past;
      this._drawClaims(claims);
      if (!this._work.contains(document.activeElement)) fill(this._work, work);
    } catch (error) {
      if (!["unavailable", "not_found"].includes(/** @type {any} */ (error).code)) throw error;
      return; // what is shown stays, and is asked for again
    }
    this._drawCopies();
    this._drawPast();
    this._tick();
  }

  _draw() {
    const { shown } = this;
    this.root.classList.toggle("nobody", !shown);
    if (!shown) {
      return fill(
        this._head,
        h("div", { class: "agent-name" }, h("h1", { class: "id" }, this.id)),
        h("p", { class: "quiet" }, "Nobody of this id is known. It is shown here as soon as it comes."),
      );
    }
    const why = reasonOf(shown);
    fill(
      this._head,
      h(
        "div",
        { class: "agent-name" },
        glyph(shown.state, 22),
        h("h1", { class: "id" }, this.id),
        shown.name && h("span", { class: "quiet" }, shown.name),
      ),
      h(
        "p",
        { class: "agent-state" },
        h("b", {}, shown.state),
        shown.status && ` “${shown.status}”`,
        why && ` · ${why}`,
      ),
      h(
        "p",
        { class: "quiet" },
        shown.alive ? ["alive since ", when(shown.online_since)] : ["down since ", when(shown.offline_since)],
        shown.override &&
          ` · an operator says ${shown.override.state}${shown.override.until ? `, until ${exact(Date.parse(shown.override.until))}` : ""}`,
        shown.held && " · its lease has run out, expiry is paused",
      ),
      h("div", { class: "actions" }, actionsOf(this._page, this)),
    );
    /** @type {[string, any][]} */
    const facts = [
      ["Dialect", shown.dialect],
      ["Group", shown.group],
      ["Host", shown.host],
      ["Version", shown.version],
      ["Capabilities", shown.capabilities?.join(", ")],
      ["Slots", `${shown.free_slots} of ${shown.slots} free`],
      ["DID", shown.did],
      ["UUID", shown.uuid],
      ["Next run", shown.next_active_at && when(shown.next_active_at)],
      ["Change", `${shown.seq} of epoch ${shown.epoch}`],
    ];
    fill(
      this._facts,
      facts.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    );
    /** @type {[string, any][]} */
    const words = [
      ["Metadata", shown.metadata],
      ["Context", shown.context],
      ["Progress", shown.progress],
    ];
    const told = words.filter(([, value]) => value !== null && value !== undefined);
    fill(
      this._words,
      told.length
        ? told
            .map(([name, value]) => [
              h("h3", {}, name),
              h("pre", { tabindex: 0, "aria-label": name }, JSON.stringify(value, null, 2)),
            ])
            .flat()
        : h("p", { class: "quiet" }, "It says nothing more of itself."),
    );
    this._tick();
  }

  _drawCopies() {
    const several = this._instances.length > 1;
    fill(
      this._copies,
      several && h("h3", {}, `${this._instances.length} instances`),
      several &&
        this._instances.map((copy) =>
          h(
            "div",
            { class: "copy" },
            badge(copy.state),
            h("span", { class: "id" }, copy.instance),
            h(
              "span",
              { class: "quiet" },
              [copy.status, copy.task, copy.host, copy.version].filter(Boolean).join(" · "),
            ),
            bar(`Lease of ${copy.instance}`, "lease"),
          ),
        ),
    );
  }

  _drawPast() {
    const { changes, days, uptime, window_s, flaps } = this._past;
    drawTimeline(this._band, changes, this._length);
    drawDays(this._days, days);
    if (uptime !== undefined)
      write(
        this._sum,
        `Alive ${percent(uptime)} of the last ${span(window_s * 1000)}; it went ${flaps} ${flaps === 1 ? "time" : "times"}.`,
      );
    fill(
      this._changes,
      changes
        .slice(-CHANGES)
        .reverse()
        .map((/** @type {any} */ change) =>
          h(
            "li",
            {},
            glyph(change.state),
            h("span", { class: "feed-words" }, said(change), why(change)),
            when(change.at),
          ),
        ),
    );
  }

  /** @param {Record<string, any>[]} claims */
  _drawClaims(claims) {
    if (!claims.length) return fill(this._claims, h("p", { class: "quiet" }, "Nobody has claimed it."));
    fill(
      this._claims,
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["By", "For", "Ends", ""].map((text) => h("th", { scope: "col" }, text)),
          ),
        ),
        h(
          "tbody",
          {},
          claims.map(({ claim, by, note, expires_at }) =>
            h(
              "tr",
              {},
              h(
                "td",
                { class: "id" },
                this._page.fleet.agents.has(by) ? h("a", { href: link("agent", { name: by }) }, by) : by,
              ),
              h("td", {}, note ?? ""),
              h("td", {}, when(expires_at)),
              h("td", {}, actionsOf(this._page, this, claim)),
            ),
          ),
        ),
      ),
    );
  }

  /** Let the clocks run. */
  _tick() {
    const { shown } = this;
    if (!shown) return fill(this._clocks);
    if (!this._clocks.childElementCount)
      fill(this._clocks, bar("Beat", "beat"), bar("Progress", "progress"), bar("Quiet phase", "quiet-phase"));
    const [beat, progress, quiet] = this._clocks.children;
    const now = nowMs();
    const at = Date.parse(shown.last_heartbeat);
    const ends = Date.parse(shown.expires_at);
    if (shown.alive) run(beat, (ends - now) / (ends - at), `${span(now - at)} ago, lease ends in ${span(ends - now)}`);
    else run(beat, 0, `last ${span(now - at)} ago, no lease`);
    const best =
      this._instances.find(({ last_progress }) => last_progress === shown.last_progress) ?? this._instances[0];
    const worked = Date.parse(shown.last_progress);
    const stalls = best?.stalls_at ? Date.parse(best.stalls_at) : null;
    const done = shown.progress?.total ? ` · ${shown.progress.done} of ${shown.progress.total}` : "";
    if (!shown.last_progress) run(progress, 0, "none yet");
    else if (stalls && shown.alive)
      run(
        progress,
        (stalls - now) / (best.progress_ttl * 1000),
        now < stalls
          ? `${span(now - worked)} ago, stalls in ${span(stalls - now)}${done}`
          : `${span(now - worked)} ago: stalled${done}`,
      );
    else run(progress, null, `${span(now - worked)} ago${best?.progress_ttl ? "" : ", no limit set"}${done}`);
    const until = shown.busy_until ? Date.parse(shown.busy_until) : 0;
    if (until > now && shown.alive)
      run(quiet, (until - now) / (until - Math.min(worked || at, at)), `ends in ${span(until - now)}`);
    else run(quiet, null, "none declared");
    const leases = this._copies.querySelectorAll(".clock");
    this._instances.forEach(({ last_heartbeat, expires_at }, i) => {
      const [begun, ended] = [Date.parse(last_heartbeat), Date.parse(expires_at)];
      if (leases[i] && expires_at) run(leases[i], (ended - now) / (ended - begun), `ends in ${span(ended - now)}`);
    });
  }
}

/** @param {Record<string, any>} change */
function why(change) {
  const text =
    change.kind === "updated" && change.was === change.state
      ? change.task
      : reasonOf({ ...change, alive: !["offline", "sleeping"].includes(change.state) });
  return text ? h("span", { class: "why" }, ` · ${text}`) : "";
}

/** @param {string} title @param {string} name @param {...Node} children */
function panel(title, name, ...children) {
  const [first, ...rest] = children;
  const control = first instanceof HTMLLabelElement;
  return h(
    "section",
    { class: `panel p-${name}`, "aria-labelledby": `p-${name}` },
    h("header", {}, h("h2", { id: `p-${name}` }, title), control && first),
    control ? rest : children,
  );
}

/** A clock that runs down. @param {string} name @param {string} look */
function bar(name, look) {
  return h(
    "div",
    { class: `clock c-${look}`, role: "group", "aria-label": name },
    h("span", { class: "clock-name" }, name),
    h("span", { class: "clock-told" }),
    h("span", { class: "clock-bar", "aria-hidden": "true" }, h("i")),
  );
}

/** @param {Element} clock @param {number | null} left from 1 to 0; null: it does not run @param {string} text */
function run(clock, left, text) {
  const fillet = /** @type {HTMLElement} */ (clock.querySelector("i"));
  fillet.style.width = left === null ? "0" : `${Math.max(0, Math.min(1, left)) * 100}%`;
  clock.classList.toggle("low", left !== null && left < 0.2);
  clock.classList.toggle("still", left === null);
  write(/** @type {Element} */ (clock.querySelector(".clock-told")), text);
}
