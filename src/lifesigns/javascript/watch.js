/** What a program follows: who is here, and every change of it. */

import { Closed, Unavailable } from "./error.js";
import { delayMs } from "./line.js";
import { Mirror, changeOf } from "./mirror.js";

/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./mirror.js").Frame} Frame */
/** @typedef {import("./mirror.js").Change} Change */
/**
 * @typedef {object} Filter all parts must hold
 * @property {string[]} [ids] with `*` at the end a prefix
 * @property {string[]} [state]
 * @property {string[]} [status]
 * @property {string[]} [dialect]
 * @property {string[]} [group]
 * @property {string[]} [name]
 * @property {string[]} [host]
 * @property {string[]} [did]
 * @property {string[]} [capability] all of them are needed
 * @property {Record<string, any>} [metadata]
 * @property {boolean} [alive]
 */

const QUEUED_CHANGES = 10_000; // beyond them a reader is told of each agent's latest alone

/** A standing question: iterate it for the changes; `agents` is who is here meanwhile. */
export class Watch {
  /**
   * @param {Line} line @param {Filter} filter @param {string} detail @param {() => void} left
   * @param {((changes: Change[]) => void) | null} told
   */
  constructor(line, filter, detail, left, told) {
    this._line = line;
    this._filter = filter;
    this._detail = detail;
    this._left = left;
    this._told = told;
    /** @type {string | null} how the hub calls it on this line */
    this.name = null;
    this.mirror = new Mirror();
    /** @type {Change[]} */
    this._queue = [];
    /** @type {(() => void) | null} */
    this._wake = null;
    this._begun = false; // whether who is here was known once
    this._ended = false;
    /** @type {Error | null} */
    this._error = null;
    /** @type {(frame: Frame) => void} called for each frame, after `agents` has it */
    this.onframe = () => {};
    /** @type {Promise<Watch>} settled when who is here is known */
    this.ready = new Promise((resolve, reject) => {
      this._resolve = () => resolve(this);
      this._reject = reject;
    });
    this.ready.catch(() => {}); // whoever iterates hears of it too
    if (line.welcome) this._begin();
  }

  /** Who is here, by id. */
  get agents() {
    return this.mirror.agents;
  }

  /** From where this watch can go on, on any hub. */
  get cursor() {
    return this.mirror.cursor;
  }

  /** End the watch. */
  close() {
    if (this._ended) return;
    if (this.name) this._line.say({ type: "unwatch", watch: this.name });
    this._end(null);
  }

  async *[Symbol.asyncIterator]() {
    try {
      for (;;) {
        while (this._queue.length) yield /** @type {Change} */ (this._queue.shift());
        if (this._error) throw this._error;
        if (this._ended) return;
        await new Promise((resolve) => (this._wake = () => resolve(undefined)));
      }
    } finally {
      this.close();
    }
  }

  async _begin() {
    this.name = null;
    /** @type {Frame} */
    const message = { type: "watch", filter: this._filter, detail: this._detail };
    if (this.cursor) message.since = this.cursor;
    try {
      await this._line.ask(message, undefined, (told) => {
        this.name = told.watch;
        this._receive(told);
      });
    } catch (error) {
      if (error instanceof Unavailable) this._retryLater();
      else if (!(error instanceof Closed)) this._end(/** @type {Error} */ (error));
    }
  }

  _retryLater() {
    const { welcome } = this._line;
    setTimeout(() => {
      // A new line asks by itself.
      if (!this._ended && this._line.welcome === welcome && welcome) this._begin();
    }, delayMs(2, Math.random()));
  }

  /** @param {Frame} frame */
  _receive(frame) {
    const outcome = this.mirror.receive(frame);
    if (outcome === "gap") {
      this._line.say({ type: "unwatch", watch: this.name });
      this._begin();
    } else if (frame.type === "changes" && Array.isArray(outcome)) {
      this._tell(frame.changes);
    } else if (frame.type === "beats") {
      this._tell(frame.beats.map((/** @type {Frame} */ beat) => ({ kind: "beat", ...beat })));
    } else if (Array.isArray(outcome) && this._begun) {
      this._tell(outcome.map(changeOf));
    }
    if (!this.mirror.loading && !this._begun) {
      this._begun = true;
      this._resolve();
    }
    this.onframe(frame);
  }

  /** @param {Change[]} changes */
  _tell(changes) {
    if (this._told) return this._told(changes);
    this._queue.push(...changes);
    if (this._queue.length > QUEUED_CHANGES) {
      const latest = new Map();
      for (const change of this._queue) {
        latest.delete(change.id); // the latest stands where it came
        latest.set(change.id, change);
      }
      this._queue = [...latest.values()];
    }
    this._wake?.();
  }

  /** @param {Error | null} error */
  _end(error) {
    if (this._ended) return;
    this._ended = true;
    this._error = error;
    this._reject(error ?? new Closed("The watch has ended.", "closed"));
    this._left();
    this._wake?.();
  }
}
