/** The fleet as this page knows it: one watch of everybody, counted, and told on once a frame. */

import { STATES, rankOf } from "./state.js";
import { nowMs } from "./time.js";

/** @typedef {import("../javascript/lifesigns.js").Hub} Hub */
/** @typedef {import("../javascript/mirror.js").Change} Change */
/** @typedef {import("../javascript/mirror.js").Presence} Presence */

const KEPT_CHANGES = 400; // of the feed; who wants more of the past asks the hub
const CHART_MS = 15 * 60_000;
const STEP_MS = 5_000; // of the charts
const BEHIND_MS = 2_000; // a change that comes so late is told to the reader,
const TOLD_MS = 5_000; // for so long after the last of them

/**
 * It is an EventTarget: `altered` at most once a frame with {ids, anew} as `detail`, where `anew`
 * says that everybody may have altered; `measured` with each step of the charts; `refused` with
 * the error, if this key may not watch.
 */
export class Fleet extends EventTarget {
  /** @param {Hub} hub */
  constructor(hub) {
    super();
    this.hub = hub;
    this.known = false; // whether there was a snapshot
    this.counts = STATES.map(() => 0);
    /** @type {Change[]} the latest last */
    this.changes = [];
    this.changed = 0; // how many changes there were
    /** @type {{at: number, alive: number, changes: number | null}[]} */
    this.points = [];
    this._behindAt = -Infinity;
    /** @type {Map<string, number>} */
    this._ranks = new Map();
    /** @type {Set<string>} */
    this._altered = new Set();
    this._anew = false;
    this._scheduled = false;
    this._changedBefore = 0;
    this._watch = hub.watch({}, { detail: "lite", told: (changes) => this._take(changes) });
    this._watch.onframe = (frame) => this._hear(frame);
    this._watch.ready.then(
      () => this._load(),
      (error) => this.dispatchEvent(new CustomEvent("refused", { detail: error })),
    );
    this._timer = setInterval(() => this._measure(), STEP_MS);
  }

  /** @returns {Map<string, Presence>} */
  get agents() {
    return this._watch.agents;
  }

  get total() {
    return this._ranks.size;
  }

  get alive() {
    return this.counts.reduce((sum, n, rank) => (STATES[rank].alive ? sum + n : sum), 0);
  }

  /** Whether what is shown was late a moment ago. */
  get behind() {
    return performance.now() - this._behindAt < TOLD_MS;
  }

  /** @param {string} state */
  count(state) {
    return this.counts[rankOf(state)];
  }

  end() {
    clearInterval(this._timer);
    this._watch.close();
  }

  _load() {
    this._ranks.clear();
    this.counts.fill(0);
    for (const id of this.agents.keys()) this._place(id);
    this.known = true;
    this._tell(true);
    this._measure();
    this._recall();
  }

  /** Learn what the hub has sampled before this page was there: who was alive, not what changed. */
  async _recall() {
    const from = new Date(nowMs() - CHART_MS).toISOString();
    const told = await this.hub.call("GET", `/v1/stats/history?step=10&from=${from}`).catch(() => null); // then it begins now
    const before = this.points[0]?.at ?? nowMs();
    const past = (told?.points ?? []).map((/** @type {any} */ { at, total }) => ({
      at: Date.parse(at),
      alive: total,
      changes: null,
    }));
    this.points.unshift(...past.filter((/** @type {{at: number}} */ { at }) => at < before));
    this.dispatchEvent(new Event("measured"));
  }

  /** @param {string} id */
  _place(id) {
    const shown = this.agents.get(id);
    const former = this._ranks.get(id);
    if (former !== undefined) this.counts[former] -= 1;
    if (!shown) return this._ranks.delete(id);
    const rank = rankOf(shown.state);
    this.counts[rank] += 1;
    this._ranks.set(id, rank);
  }

  /** @param {Change[]} changes */
  _take(changes) {
    for (const change of changes) {
      this._place(change.id);
      this._altered.add(change.id);
    }
    const news = changes.filter(({ resync }) => !resync);
    this.changed += news.length;
    this.changes.push(...news.slice(-KEPT_CHANGES));
    if (this.changes.length > KEPT_CHANGES) this.changes.splice(0, this.changes.length - KEPT_CHANGES);
    this._tell(false);
  }

  /** @param {Record<string, any>} frame */
  _hear(frame) {
    if (frame.type !== "changes") return;
    const at = frame.changes.at(-1)?.at;
    if (frame.coalesced || (at && nowMs() - Date.parse(at) > BEHIND_MS)) this._behindAt = performance.now();
  }

  /** @param {boolean} anew */
  _tell(anew) {
    this._anew ||= anew;
    if (this._scheduled) return;
    this._scheduled = true;
    requestAnimationFrame(() => {
      const detail = { ids: this._altered, anew: this._anew };
      this._altered = new Set();
      this._scheduled = this._anew = false;
      this.dispatchEvent(new CustomEvent("altered", { detail }));
    });
  }

  _measure() {
    if (!this.known) return;
    const at = nowMs();
    const last = this.points.at(-1);
    const elapsed = last ? (at - last.at) / 1000 : 0;
    const changes = elapsed > 0 ? (this.changed - this._changedBefore) / elapsed : null;
    this._changedBefore = this.changed;
    this.points.push({ at, alive: this.alive, changes });
    while (this.points[0].at < at - CHART_MS) this.points.shift();
    this.dispatchEvent(new Event("measured"));
  }
}
