/**
 * Lifesigns for browsers, Node 20, Deno and Bun: ten lines make a program visible, and one call
 * finds, reserves and guards a living peer.
 *
 *     import { Agent } from "./lifesigns.js";
 *
 *     const me = new Agent("search-agent", { capabilities: ["search"] });
 *     me.update({ status: "thinking", task: "processing user query" });
 *     const peer = await me.hub.claim({ capability: ["summarise"], state: ["available"] });
 *     await fetch(work, { signal: peer.lost }); // aborted the moment the claim is gone
 *     await peer.release();
 *     await me.close();
 *
 * Everything comes back by itself: with full jitter, at most 30 s apart, after the hub's own hint if
 * it gave one; the same instance, everything described again, watches from their cursor.
 *
 * @module lifesigns
 */

import { ClaimLost, Closed } from "./error.js";
import { LONGEST_SILENCE_MS, Line } from "./line.js";
import { fetched } from "./rest.js";
import { Watch } from "./watch.js";
import { Work } from "./work.js";

export { AgentTool } from "./agenttool.js";
export { Busy, ClaimLost, Closed, LifesignsError, NoMatch, NotAlive, Unavailable } from "./error.js";
export { delayMs } from "./line.js";
export { Mirror } from "./mirror.js";
export { Watch } from "./watch.js";

/** @typedef {import("./line.js").Place} Place */
/** @typedef {import("./mirror.js").Change} Change */
/** @typedef {import("./mirror.js").Frame} Frame */
/** @typedef {import("./mirror.js").Presence} Presence */
/** @typedef {import("./watch.js").Filter} Filter */
/** @typedef {import("./work.js").Run} Run */
/**
 * @typedef {object} Words what an agent says of itself
 * @property {string | null} [status]
 * @property {string | null} [state]
 * @property {string | null} [task]
 * @property {Record<string, any> | string | null} [progress]
 * @property {number | null} [progress_ttl]
 * @property {string | null} [busy_until]
 * @property {number | null} [busy_for]
 * @property {Record<string, any> | null} [metadata]
 * @property {any} [context]
 * @property {string[]} [capabilities]
 * @property {number} [slots]
 * @property {string | null} [did]
 * @property {string | null} [name]
 * @property {string | null} [group]
 * @property {string | null} [host]
 * @property {string | null} [version]
 */

const SETTLE_MS = 25; // updates closer together leave as one message: a hub takes 50 a second

/** A living peer with a slot of its own kept for you. Renews itself until it is released. */
export class Peer {
  /** @param {Line} line @param {Frame} claimed @param {number} ttlMs @param {() => void} left */
  constructor(line, claimed, ttlMs, left) {
    this._line = line;
    this._ttlMs = ttlMs;
    this._left = left;
    /** @type {string} */
    this.claim = claimed.claim;
    /** @type {string} */
    this.id = claimed.agent;
    /** @type {string | null} */
    this.instance = claimed.instance ?? null;
    /** @type {number} larger than that of any claim on this agent before */
    this.fence = claimed.fence;
    /** @type {string} */
    this.expiresAt = claimed.expires_at;
    /** @type {Presence} */
    this.presence = claimed.presence;
    this.doubtful = false; // its agent may be gone; the slot is still kept
    this._losing = new AbortController();
    /** @type {AbortSignal} aborted the moment the claim is gone; its reason says why */
    this.lost = this._losing.signal;
    this._goodUntil = performance.now() + ttlMs;
    this._timer = setTimeout(() => this._renew(), ttlMs / 3);
  }

  /** Give the slot back. */
  async release() {
    if (this.lost.aborted) return;
    this._lose("released");
    await this._line.ask({ type: "release", claim: this.claim });
  }

  async [Symbol.asyncDispose ?? Symbol.for("asyncDispose")]() {
    await this.release();
  }

  async _renew() {
    clearTimeout(this._timer);
    const asked = performance.now();
    try {
      const { expires_at } = await this._line.ask({ type: "renew", claim: this.claim, ttl: this._ttlMs / 1000 }, this._ttlMs / 3);
      this._goodUntil = asked + this._ttlMs;
      this.expiresAt = expires_at ?? this.expiresAt;
    } catch (error) {
      if (error instanceof ClaimLost || error instanceof Closed) return this._lose(error.code);
      if (performance.now() >= this._goodUntil) return this._lose("expired");
    }
    if (!this.lost.aborted) this._timer = setTimeout(() => this._renew(), this._ttlMs / 3);
  }

  /** @param {Frame} frame */
  _receive(frame) {
    if (frame.type === "regained") this.doubtful = false;
    else if (frame.final) this._lose(frame.why);
    else this.doubtful = true;
  }

  /** @param {string} why */
  _lose(why) {
    if (this.lost.aborted) return;
    clearTimeout(this._timer);
    this._left();
    this._losing.abort(new ClaimLost(`The claim on ${this.id} is gone: ${why}.`, why));
  }
}

/**
 * Change a login ticket, as `serve` prints one, for a key that is good for twelve hours.
 * @param {string} ticket @param {string} [url] of the hub; else the page's own
 * @returns {Promise<Frame>} `key`, and what it may
 */
export function login(ticket, url = "") {
  return fetched(`${url}/v1/login`, "POST", { body: { ticket } });
}

/**
 * Who asks: checks, claims and watches. Alone it is an observer; an agent has one, too.
 *
 * It is an EventTarget: `connected` with the welcome as `detail`, `disconnected`, `closed`, and
 * `notice`.
 */
export class Hub extends EventTarget {
  /** @param {Place | Line} [place] */
  constructor(place = {}) {
    super();
    /** @type {Set<Watch>} */
    this._watches = new Set();
    /** @type {Map<string, Peer>} */
    this._peers = new Map();
    this._line = place instanceof Line ? place : new Line(place, () => ({ claims: this.claims }), true);
    this._line.addEventListener("connected", () => this._resume());
    for (const name of ["connected", "disconnected", "closed"]) {
      this._line.addEventListener(name, (event) => pass(this, name, /** @type {CustomEvent} */ (event).detail));
    }
    this._line.addEventListener("frame", (event) => this._receive(/** @type {CustomEvent} */ (event).detail));
    this._line.addEventListener("closed", (event) => {
      const { code, reason } = /** @type {CustomEvent} */ (event).detail;
      // Who leaves by its own will has heard enough; who is turned away must be told.
      const error = code === 1000 ? null : new Closed(`The hub has ended the line: ${reason}.`, reason);
      for (const watch of [...this._watches]) watch._end(error);
      for (const peer of [...this._peers.values()]) peer._lose("closed");
    });
  }

  /** Whether there is a line to a hub now. */
  get connected() {
    return this._line.welcome !== null;
  }

  /** The hub's answer to the hello; null without a line. @returns {Frame | null} */
  get welcome() {
    return this._line.welcome;
  }

  /** What the key may: `watch`, `agent`, `poster`, `admin` or `root`; known once connected. */
  get scope() {
    return this._line.scope;
  }

  /** The claims held over this line. */
  get claims() {
    return [...this._peers.keys()];
  }

  /** Settled, with the closing code and the reason, when this ends for good. */
  get closed() {
    return this._line.closed;
  }

  /**
   * Ask whether agents are alive, and how sure that is.
   * @param {string | string[]} agents
   * @param {{within?: number, probe?: boolean, timeout?: number, detail?: string}} [options] times in ms
   * @returns {Promise<Record<string, Presence>>} by id
   */
  async check(agents, options = {}) {
    const waitMs = LONGEST_SILENCE_MS + (options.timeout ?? 0);
    return (await this._line.ask({ type: "check", agents: [agents].flat(), ...options }, waitMs)).agents;
  }

  /**
   * See whom a claim would get.
   * @param {Filter} [filter] @param {{n?: number, detail?: string}} [options]
   * @returns {Promise<Presence[]>}
   */
  async pick(filter = {}, options = {}) {
    return (await this._line.ask({ type: "pick", filter, ...options })).agents;
  }

  /**
   * Find a living agent that takes work, and keep a slot of it, in one step.
   * @param {string | Filter} wanted an id, or whom it may be
   * @param {{ttl?: number, wait?: number, note?: string}} [options] times in seconds
   * @returns {Promise<Peer>}
   */
  async claim(wanted, { ttl = 60, wait = 0, note } = {}) {
    const whom = typeof wanted === "string" ? { agent: wanted } : { filter: wanted };
    const claimed = await this._line.ask({ type: "claim", ...whom, ttl, wait, note }, LONGEST_SILENCE_MS + wait * 1000);
    const peer = new Peer(this._line, claimed, ttl * 1000, () => this._peers.delete(peer.claim));
    this._peers.set(peer.claim, peer);
    return peer;
  }

  /**
   * Watch whoever matches. Iterate the answer for the changes; what a reader is too slow for is
   * told as each agent's latest.
   * @param {Filter} [filter]
   * @param {{detail?: "full" | "lite" | "counts" | "beats", told?: ((changes: Change[]) => void) | null}} [options]
   *   `told` takes the changes of each frame as they come, in place of the iteration: nothing is queued
   * @returns {Watch}
   */
  watch(filter = {}, { detail = "full", told = null } = {}) {
    const watch = new Watch(this._line, filter, detail, () => this._watches.delete(watch), told);
    this._watches.add(watch);
    if (this._line.ended) watch._end(new Closed("The line has ended.", "closed"));
    return watch;
  }

  /** @param {Filter} [filter] @returns {Promise<Presence[]>} who is here now */
  async who(filter = { alive: true }) {
    const watch = this.watch(filter);
    try {
      await watch.ready;
      return [...watch.agents.values()];
    } finally {
      watch.close();
    }
  }

  /**
   * Call the REST API with the key of this line.
   * @param {"GET" | "POST" | "PUT" | "PATCH" | "DELETE"} method
   * @param {string} path from `/v1` on @param {any} [body]
   * @returns {Promise<Frame>}
   */
  call(method, path, body) {
    return this._line.call(method, path, body);
  }

  /** Leave: watches end, claims are released. */
  async close() {
    for (const claim of this.claims) this._line.say({ type: "release", claim });
    this._line.end(1000, "closed");
  }

  async [Symbol.asyncDispose ?? Symbol.for("asyncDispose")]() {
    await this.close();
  }

  _resume() {
    for (const watch of this._watches) watch._begin();
    // The hello named them; whichever is gone meanwhile is found out at once.
    for (const peer of this._peers.values()) peer._renew();
  }

  /** @param {Frame} frame */
  _receive(frame) {
    if (frame.type === "notice") return pass(this, "notice", frame);
    if (frame.type === "lost" || frame.type === "regained") return this._peers.get(frame.claim)?._receive(frame);
    if (!frame.watch) return;
    for (const watch of this._watches) if (watch.name === frame.watch) return watch._receive(frame);
  }
}

/**
 * A presence: alive from here until `close`, or until the program ends.
 *
 * It is an EventTarget: `connected`, `disconnected`, `closed`, and, with the frame as `detail`,
 * `assigned`, `unassigned` and `tell`.
 */
export class Agent extends EventTarget {
  /**
   * @param {string} agent its id
   * @param {Place & Words & {ttl?: number, instance?: string}} [options]
   */
  constructor(agent, { url, key, project, ttl = 30, instance = globalThis.crypto.randomUUID(), ...words } = {}) {
    super();
    this.id = agent;
    this.instance = instance;
    /** @type {Record<string, any>} everything that it says, as of now */
    this._words = {};
    /** @type {Record<string, any>} what of it the hub was not told yet */
    this._unsaid = {};
    this._saidAt = -Infinity;
    this._merge(words);
    this._line = new Line({ url, key, project }, () => {
      this._unsaid = {};
      return { agent, instance, ttl, ...this._words, claims: this.hub.claims };
    });
    this.hub = new Hub(this._line);
    this._work = new Work(this._line);
    for (const name of ["connected", "disconnected", "closed"]) {
      this._line.addEventListener(name, (event) => pass(this, name, /** @type {CustomEvent} */ (event).detail));
    }
    this._line.addEventListener("frame", (event) => {
      const frame = /** @type {CustomEvent} */ (event).detail;
      if (["assigned", "unassigned", "tell", "notice"].includes(frame.type)) pass(this, frame.type, frame);
    });
    /** @type {Promise<Agent>} settled when a hub knows it for the first time */
    this.ready = new Promise((resolve, reject) => {
      this.addEventListener("connected", () => resolve(this), { once: true });
      this.addEventListener("closed", (event) => {
        const { reason } = /** @type {CustomEvent} */ (event).detail;
        reject(new Closed(`The agent could not stay: ${reason}.`, reason));
      });
    });
    this.ready.catch(() => {}); // whoever does not wait for it looks at `closed`
  }

  get connected() {
    return this.hub.connected;
  }

  /** Settled, with the closing code and the reason, when this ends for good. */
  get closed() {
    return this._line.closed;
  }

  /**
   * Say what is new: absent is unchanged, null is cleared. Never waits; without a line the latest
   * of each field is kept, and said when there is one.
   * @param {Words} words
   */
  update(words) {
    const scheduled = Object.keys(this._unsaid).length > 0;
    Object.assign(this._unsaid, this._merge(words));
    if (scheduled || !this.connected) return;
    const waitMs = this._saidAt + SETTLE_MS - performance.now();
    if (waitMs <= 0) this._say();
    else setTimeout(() => this._say(), waitMs);
  }

  /**
   * Have the runs of this agent's schedules done by a function, one after another or so many at
   * once. What it returns, or promises, is the response; what it throws is the error.
   * @param {(run: Run) => any} handler @param {{atOnce?: number}} [options]
   */
  onRun(handler, { atOnce = 1 } = {}) {
    this._work.handle(handler, atOnce);
    return handler;
  }

  /** Say goodbye: offline at once; a run that is not done is given up. @param {string} [reason] */
  async close(reason) {
    await this._work.end();
    if (this._line.welcome) {
      this._say();
      this._line.say({ type: "bye", reason });
      // The hub closes when everybody can see it; one that does not is left all the same.
      await Promise.race([this.closed, new Promise((resolve) => setTimeout(resolve, 2_000))]);
    }
    this._line.end(1000, "bye");
  }

  async [Symbol.asyncDispose ?? Symbol.for("asyncDispose")]() {
    await this.close();
  }

  /** @param {Words} words @returns {Words} */
  _merge({ busy_for, ...words }) {
    // A span counts from now, however late it is said.
    if (busy_for != null) words.busy_until = new Date(Date.now() + busy_for * 1000).toISOString();
    // A status speaks for itself: the hint that came before it is over.
    if ("status" in words && !("state" in words)) delete this._words.state;
    Object.assign(this._words, words);
    for (const [name, value] of Object.entries(this._words)) {
      if (value === null || value === undefined) delete this._words[name];
    }
    return words;
  }

  _say() {
    if (!this._line.welcome || !Object.keys(this._unsaid).length) return;
    this._line.say({ type: "beat", ...this._unsaid });
    this._unsaid = {};
    this._saidAt = performance.now();
  }
}

/** @param {EventTarget} target @param {string} name @param {any} detail */
function pass(target, name, detail) {
  target.dispatchEvent(new CustomEvent(name, { detail }));
}
