/** Runs that the hub hands to an agent: done one after another, and each reported once. */

import { Closed, Unavailable } from "./error.js";
import { LONGEST_SILENCE_MS, delayMs } from "./line.js";

/** @typedef {Record<string, any>} Frame one message of the hub */
/**
 * @typedef {object} Run one execution of a schedule; what stands below `signal` may be noted on it,
 *   and is reported with the result or with the error
 * @property {string} id
 * @property {string} schedule
 * @property {string} agent
 * @property {string} prompt
 * @property {any} member_id
 * @property {string} deadline a report that comes later does not count
 * @property {AbortSignal} signal aborted when the agent leaves
 * @property {number} [tokens_used]
 * @property {number} [credits]
 * @property {any} [notify]
 */
/** @typedef {(run: Run) => any} Handler */

const KNOWN = 1_000; // runs that are told again after a reconnect, and not done again
const HANDLER_MS = 5_000; // a program that is being set up says soon who does its runs
const REPORT_MS = 600_000; // that a report is tried for at least, beyond its run's deadline
const LAST_MS = 2_000; // that an agent which leaves waits for its last reports
const LONGEST_ERROR = 1_024; // bytes
const LONGEST_RESPONSE = 49_152; // of a message, a hub takes 65,536
const LONGEST_NOTICE = 6_144;
const REPORTED = ["status", "response", "tokens_used", "credits", "error_message", "notify"];
const LEFT = "The agent left before it was done.";
const NOBODY = "This program does no runs: it has no handler for them.";

/** The runs of one agent. */
export class Work {
  /** @param {import("./line.js").Line} line */
  constructor(line) {
    this._line = line;
    /** @type {Handler | null} */
    this._handler = null;
    this._atOnce = 1;
    /** @type {{run: Run, until: number}[]} each with when its time is over */
    this._waiting = [];
    /** @type {Map<Run, number>} */
    this._working = new Map();
    /** @type {Set<Promise<void>>} */
    this._reporting = new Set();
    /** @type {Set<string>} */
    this._known = new Set();
    this._leaving = new AbortController();
    this._aheadMs = 0; // by so much the hub's clock is ahead
    line.addEventListener("connected", (event) => {
      const { time } = /** @type {CustomEvent} */ (event).detail;
      if (time) this._aheadMs = Date.parse(time) - performance.now();
    });
    line.addEventListener("frame", (event) => {
      const frame = /** @type {CustomEvent} */ (event).detail;
      if (frame.type === "run") this._take(frame);
    });
  }

  /** @param {Handler} handler @param {number} atOnce */
  handle(handler, atOnce) {
    if (!(atOnce >= 1)) throw new RangeError("at least one run is done at once");
    this._handler = handler;
    this._atOnce = atOnce;
    this._begin();
  }

  /** Give up what is not done, and report that. */
  async end() {
    this._leaving.abort();
    for (const { run, until } of this._waiting.splice(0)) this._report(run, failure(run, LEFT), until);
    for (const [run, until] of this._working) this._report(run, failure(run, LEFT), until);
    this._working.clear();
    if (this._line.welcome) await Promise.race([Promise.all(this._reporting), pause(LAST_MS)]);
  }

  /** @param {Frame} told */
  _take({ type, run: id, ...told }) {
    if (this._known.has(id) || this._leaving.signal.aborted) return;
    const [oldest] = this._known;
    if (this._known.add(id).size > KNOWN) this._known.delete(oldest);
    const run = /** @type {Run} */ ({ id, ...told, signal: this._leaving.signal });
    this._waiting.push({ run, until: Date.parse(run.deadline) - this._aheadMs });
    this._begin();
    if (!this._handler) setTimeout(() => this._lookForHandler(), HANDLER_MS);
  }

  _lookForHandler() {
    const waiting = this._handler ? undefined : this._waiting.shift();
    if (waiting) this._report(waiting.run, failure(waiting.run, NOBODY), waiting.until);
  }

  _begin() {
    while (this._handler && this._working.size < this._atOnce) {
      const waiting = this._waiting.shift();
      if (!waiting) return;
      if (performance.now() < waiting.until) this._do(this._handler, waiting.run, waiting.until);
    }
  }

  /** @param {Handler} handler @param {Run} run @param {number} until */
  async _do(handler, run, until) {
    this._working.set(run, until);
    /** @type {Frame} */
    let report;
    try {
      report = success(run, await handler(run));
    } catch (error) {
      report = failure(run, String(error));
    }
    if (!this._working.delete(run)) return; // it was given up meanwhile
    this._report(run, report, until);
    this._begin();
  }

  /** @param {Run} run @param {Frame} report @param {number} until */
  _report(run, report, until) {
    const telling = this._tell(run, report, Math.max(until, performance.now()) + REPORT_MS);
    this._reporting.add(telling);
    telling.finally(() => this._reporting.delete(telling));
  }

  /** @param {Run} run @param {Frame} report @param {number} until */
  async _tell(run, report, until) {
    for (let tries = 0; performance.now() < until; tries++) {
      try {
        await this._line.ask({ type: "done", run: run.id, ...report }, LONGEST_SILENCE_MS);
        return;
      } catch (error) {
        const { code, message } = /** @type {any} */ (error);
        if (error instanceof Closed) return;
        if (code === "bad_value" && report.status !== "error") {
          report = { status: "error", error_message: cut(`Its report was not taken: ${message}`, LONGEST_ERROR) };
          continue;
        }
        if (!(error instanceof Unavailable) && code !== "rate_limited") return; // too late, or not ours
      }
      await pause(delayMs(tries + 2, Math.random()));
    }
  }
}

/** Say what a handler's result reports. @param {Run} run @param {any} result @returns {Frame} */
export function success(run, result) {
  const report = { status: "success", ...noted(run) };
  const names = result && typeof result === "object" && !Array.isArray(result) ? Object.keys(result) : [];
  if (names.length && names.every((name) => REPORTED.includes(name))) Object.assign(report, result);
  else if (result !== undefined && result !== null) report.response = result;
  return sendable(report);
}

/** Say why there is no result. @param {Run} run @param {string} why @returns {Frame} */
export function failure(run, why) {
  return sendable({ status: "error", ...noted(run), error_message: why });
}

/** @param {Run} run @returns {Frame} */
function noted({ tokens_used, credits, notify }) {
  return Object.fromEntries(Object.entries({ tokens_used, credits, notify }).filter(([, value]) => value != null));
}

/** @param {Frame} report @returns {Frame} */
function sendable(report) {
  for (const [name, longest] of /** @type {const} */ ([["response", LONGEST_RESPONSE], ["error_message", LONGEST_ERROR]])) {
    if (report[name] != null) report[name] = cut(text(report[name]), longest);
  }
  if (report.notify != null && size(report.notify) > LONGEST_NOTICE) report.notify = cut(text(report.notify), LONGEST_NOTICE);
  return report;
}

/** @param {any} value */
function text(value) {
  const spelt = typeof value === "string" ? value : JSON.stringify(value) ?? String(value);
  return spelt.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

/** How many bytes a value takes in a message. @param {any} value */
function size(value) {
  return new TextEncoder().encode(JSON.stringify(value)).length;
}

/** @param {string} whole @param {number} longest in bytes */
function cut(whole, longest) {
  if (size(whole) <= longest) return whole;
  let [low, high] = [0, Math.min(whole.length, longest)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (size(whole.slice(0, middle)) + 3 <= longest) low = middle;
    else high = middle - 1;
  }
  return `${text(whole.slice(0, low)).replace(/\ufffd$/, "")}…`;
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
