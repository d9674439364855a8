/** The one reducer: snapshot plus changes is who is here. It knows no socket and no clock. */

/** @typedef {Record<string, any>} Frame one message of the hub */
/** @typedef {Record<string, any>} Presence what is known of an agent */
/** @typedef {Presence & {kind: string, at?: string, was?: string | null, gone?: boolean, resync?: boolean}} Change */

// What a change says beside the presence.
const ABOUT = new Set(["kind", "at", "was", "gone", "downtime_ms", "for_ms"]);
const DOWN = new Set(["offline", "sleeping"]);

/** @typedef {{id: string, before: Presence | null, after: Presence | null}} Difference */

/**
 * Who is here by the frames of one watch: a snapshot becomes differences, changes that come before
 * its end wait, and a frame that does not begin where the last one ended is a gap.
 */
export class Mirror {
  constructor() {
    /** @type {Map<string, Presence>} */
    this.agents = new Map();
    /** @type {string | null} from where to watch again; null: from a snapshot */
    this.cursor = null;
    /** @type {Record<string, number>} */
    this.counts = {};
    this.total = 0;
    this.loading = true;
    /** @type {Map<string, Presence>} */
    this._incoming = new Map();
    /** @type {Frame[]} */
    this._waiting = [];
  }

  /**
   * Take the next frame; answer what it altered, or what became of it.
   * @param {Frame} frame
   * @returns {Difference[] | "gap" | "waits"}
   */
  receive(frame) {
    if (frame.type === "changes") {
      if (this.loading) {
        this._waiting.push(frame);
        return "waits";
      }
      return frame.from === this.cursor ? this._apply(frame) : "gap";
    }
    if (frame.type === "snapshot") return frame.counts ? this._count(frame) : this._load(frame);
    if (frame.type === "resync" || (frame.type === "watching" && !frame.resumed)) this._begin(true);
    else if (frame.type === "watching") this._begin(false);
    return [];
  }

  /** @param {boolean} loading */
  _begin(loading) {
    this.loading = loading;
    this._incoming = new Map();
    this._waiting = [];
  }

  /** @param {Frame} frame @returns {Difference[] | "gap" | "waits"} */
  _count(frame) {
    if (frame.from === null) {
      this._load({ agents: [], cursor: frame.cursor });
    } else {
      if (this.loading) return "waits";
      if (frame.from !== this.cursor) return "gap";
      this.cursor = frame.cursor;
    }
    this.counts = frame.counts;
    this.total = frame.total;
    return [];
  }

  /** @param {Frame} page @returns {Difference[]} */
  _load(page) {
    if (!this.loading) this._begin(true);
    for (const shown of page.agents) this._incoming.set(shown.id, shown);
    if (page.more) return [];
    const former = this.agents;
    const waiting = this._waiting;
    this.agents = this._incoming;
    this.cursor = page.cursor;
    this._begin(false);
    /** @type {Difference[]} */
    const differences = [];
    for (const [id, after] of this.agents) {
      const before = former.get(id) ?? null;
      if (before === null || JSON.stringify(before) !== JSON.stringify(after)) {
        differences.push({ id, before, after });
      }
    }
    for (const [id, before] of former) {
      if (!this.agents.has(id)) differences.push({ id, before, after: null });
    }
    for (const frame of waiting) {
      // Else the snapshot has it already.
      if (frame.from === this.cursor) differences.push(...this._apply(frame));
    }
    return differences;
  }

  /** @param {Frame} frame @returns {Difference[]} */
  _apply(frame) {
    /** @type {Difference[]} */
    const differences = [];
    for (const change of frame.changes) {
      const before = this.agents.get(change.id) ?? null;
      if (before && before.epoch === change.epoch && before.seq >= change.seq) continue; // newer
      const here = change.kind !== "forgotten" && !change.gone;
      const after = here ? presenceOf(change) : null;
      if (after) this.agents.set(change.id, after);
      else this.agents.delete(change.id);
      if (before || after) differences.push({ id: change.id, before, after });
    }
    this.cursor = frame.cursor;
    return differences;
  }
}

/** @param {Frame} change @returns {Presence} */
function presenceOf(change) {
  return Object.fromEntries(Object.entries(change).filter(([name]) => !ABOUT.has(name)));
}

/** Spell a difference that a new snapshot showed as the change that it amounts to.
 * @param {Difference} difference @returns {Change} */
export function changeOf({ before, after }) {
  const was = before?.state ?? null;
  if (!after) return { ...before, kind: "updated", was, gone: true, resync: true };
  return { ...after, kind: kindOf(was, after.state), was, resync: true };
}

/** @param {string | null} was @param {string} state @returns {string} */
function kindOf(was, state) {
  if (was === state) return "updated";
  const wasDown = was === null || DOWN.has(was);
  if (DOWN.has(state)) return wasDown ? "updated" : "offline";
  if (wasDown) return "online";
  if (state === "suspect" || state === "stalled") return state;
  return was === "suspect" || was === "stalled" ? "recovered" : "updated";
}
