/** What has just happened, the latest first, each with its reason as far as it can be learnt. */

import { choice, fill, h, write } from "./element.js";
import { ask, link } from "./route.js";
import { STATES, glyph, rankOf } from "./state.js";
import { span, when } from "./time.js";

/** @typedef {import("./fleet.js").Fleet} Fleet */
/** @typedef {import("./filter.js").Judge} Judge */
/** @typedef {import("../javascript/mirror.js").Change} Change */

const ROWS = 40;
const DRAWN_MS = 250; // nobody reads faster
const EXPLAINED_MS = 150;

/** @type {Record<string, (change: Change) => boolean>} */
const SORTS = {
  turns: ({ state, was, kind }) => state !== was || kind === "forgotten",
  attention: ({ state, was, kind }) =>
    state !== was && (STATES[rankOf(state)].urgent || kind === "offline" || kind === "recovered"),
  all: () => true,
};
/** @type {[string, string][]} */
const CHOICES = [
  ["turns", "turns of state"],
  ["attention", "what needs attention"],
  ["all", "everything"],
];

/** @type {Record<string, string>} */
export const REASONS = {
  left: "left",
  expired: "its lease ran out",
  disconnected: "its line broke, and it did not come back",
  node_lost: "its hub was lost, and it did not come back",
  revoked: "its key was revoked",
};

export class Feed {
  /** @param {Fleet} fleet @param {string} sort */
  constructor(fleet, sort) {
    this._fleet = fleet;
    this._sort = Object.hasOwn(SORTS, sort) ? sort : "turns";
    /** @type {Judge | null} */
    this._judge = null;
    this._seen = 0; // of the fleet's changes
    this._timer = 0;
    /** @type {Map<Element, Change>} rows whose reason is asked for */
    this._unexplained = new Map();
    this._explaining = 0;
    this._rows = h("ol", { class: "feed-rows", "aria-label": "Latest changes, newest first" });
    this._note = h("p", { class: "quiet feed-note" });
    const chosen = choice("Show", CHOICES, this._sort, (value) =>
      ask({ feed: value === "turns" ? null : value }, true),
    );
    this.root = h(
      "section",
      { class: "panel feed", "aria-labelledby": "feed-title" },
      h("header", {}, h("h2", { id: "feed-title" }, "Changes"), chosen),
      this._note,
      this._rows,
    );
    this.refill();
  }

  end() {
    clearTimeout(this._timer);
    clearTimeout(this._explaining);
  }

  /** @param {Judge | null} judge @param {string} sort */
  judge(judge, sort) {
    this._judge = judge;
    this._sort = Object.hasOwn(SORTS, sort) ? sort : "turns";
    this.refill();
  }

  refill() {
    this._seen = Math.max(0, this._fleet.changed - this._fleet.changes.length);
    this._rows.replaceChildren();
    this._unexplained.clear();
    this._draw();
  }

  /** Some changes came. */
  take() {
    this._timer ||= setTimeout(() => this._draw(), DRAWN_MS);
  }

  _draw() {
    this._timer = 0;
    // Who points at a row or has stepped into one wants it to stay.
    if (this._rows.matches(":hover, :focus-within")) {
      if (this._fleet.changed > this._seen) write(this._note, "Held while you point at it.");
      return this.take();
    }
    const { changes, changed } = this._fleet;
    const fresh = changes.slice(Math.max(0, changes.length - (changed - this._seen)));
    this._seen = changed;
    const wanted = fresh.filter((change) => SORTS[this._sort](change) && (!this._judge || this._judge(change)));
    for (const change of wanted.slice(-ROWS)) this._rows.prepend(this._row(change));
    while (this._rows.childElementCount > ROWS) this._rows.lastElementChild?.remove();
    for (const row of this._unexplained.keys()) if (!row.isConnected) this._unexplained.delete(row);
    const passed = wanted.length - ROWS;
    write(
      this._note,
      passed > 0
        ? `${passed} more went by too fast to show.`
        : this._rows.childElementCount
          ? ""
          : "Nothing has changed since this page looks.",
    );
    if (this._unexplained.size) this._explaining ||= setTimeout(() => this._explain(), EXPLAINED_MS);
  }

  /** @param {Change} change */
  _row(change) {
    const why = h("span", { class: "why" });
    if (change.kind === "offline" || change.state === "error" || change.state === "stalled")
      this._unexplained.set(why, change);
    return h(
      "li",
      {},
      glyph(change.state),
      h(
        "span",
        { class: "feed-words" },
        h("a", { href: link("agent", { name: change.id }), class: "id" }, change.id),
        " ",
        said(change),
        why,
      ),
      when(change.at),
    );
  }

  async _explain() {
    this._explaining = 0;
    const asked = [...this._unexplained].slice(0, ROWS);
    for (const [place] of asked) this._unexplained.delete(place);
    if (!asked.length || !this._fleet.hub.connected) return;
    const ids = [...new Set(asked.map(([, change]) => change.id))];
    const found = await this._fleet.hub.check(ids).catch(() => null); // a row without a reason stays one
    for (const [place, change] of asked) {
      const now = found?.[change.id];
      if (!now || now.state !== change.state) continue; // it went on: what stands there is another's reason
      const text = reasonOf(now);
      if (text) fill(place, `: ${text}`);
    }
  }
}

/** Say why an agent is as it is. @param {Record<string, any>} shown @returns {string} */
export function reasonOf(shown) {
  if (!shown.alive) return shown.reason_text ?? REASONS[shown.reason] ?? shown.reason ?? "";
  return shown.override?.why ?? shown.task ?? "";
}

/** Say a change in words. @param {Change} change @returns {string} */
export function said({ kind, was, state, status, downtime_ms, for_ms }) {
  switch (kind) {
    case "online":
      return downtime_ms ? `is back after ${span(downtime_ms)}, ${state}` : `is here, ${state}`;
    case "offline":
      return `went ${state}`;
    case "suspect":
      return "has lost its line";
    case "stalled":
      return "makes no progress";
    case "recovered":
      return for_ms ? `recovered after ${span(for_ms)}, ${state}` : `recovered, ${state}`;
    case "forgotten":
      return "was forgotten";
    default:
      return was === state || was === null ? `is ${state}${status ? `, “${status}”` : ""}` : `${was} → ${state}`;
  }
}
