/** The way to a hub and back: one socket at a time, begun anew as often as it breaks. */

import { Closed, Unavailable, refusal } from "./error.js";
import { fetched } from "./rest.js";
import { NodeSocket } from "./socket.js";
import { StreamSocket } from "./stream.js";

/** @typedef {Record<string, any>} Frame one message of the hub */
/** @typedef {{code: number, reason: string}} Ending with what closing code, and why */
/**
 * @typedef {object} Place where the hub is, and how to get in
 * @property {string | string[]} [url] of one hub, or of several that are tried in turn; else
 *   `LIFESIGNS_URL`, the origin of the page, `http://127.0.0.1:8700`
 * @property {string} [key] else `LIFESIGNS_KEY`; none for a hub without keys
 * @property {string} [project] for the root key: another project than its own
 */

export const DEFAULT_URL = "http://127.0.0.1:8700";
const PROTOCOL = "lifesigns.v1.json";

// A client comes back after these, and after no other.
const RECONNECTABLE = new Set([1001, 1005, 1006, 1011, 1012, 1013, 4008, 4029]);
// As what a key that the hub does not take ends the line.
const TURNED_AWAY = new Map([
  ["unauthorized", 4001],
  ["forbidden", 4003],
]);

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 30_000;
export const LONGEST_SILENCE_MS = 15_000; // a hub that answers nothing for so long is left
const OPENING_MS = 10_000;
const UNOPENED = 2; // so many sockets in a row never opened: perhaps no proxy lets one pass

/**
 * Say how long to wait before trying again: full jitter under a ceiling that doubles, so that a
 * thousand who lost the same hub do not all come back at once.
 * @param {number} attempt failures since the last success, from 0
 * @param {number} chance drawn evenly from 0 to 1
 */
export function delayMs(attempt, chance) {
  return chance * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(attempt, 64));
}

/** Look for a setting, where there are any. @param {string} name @returns {string | undefined} */
export function environment(name) {
  return globalThis.process?.env?.[name];
}

/** One conversation with a hub, begun anew as often as its socket breaks. */
export class Line extends EventTarget {
  /**
   * @param {Place} place @param {() => Frame} hello
   * @param {boolean} [observes] it is nobody's presence, and so can do without a socket
   */
  constructor({ url, key, project }, hello, observes = false) {
    super();
    const origin = globalThis.location?.origin;
    const named = url ?? environment("LIFESIGNS_URL") ?? (origin?.startsWith("http") ? origin : DEFAULT_URL);
    this._urls = [named].flat().map((each) => each.replace(/\/+$/, ""));
    this._key = key ?? environment("LIFESIGNS_KEY");
    this._project = project;
    this._hello = hello;
    this._observes = observes;
    this._unopened = 0;
    /** @type {any} */
    this._socket = null;
    /** @typedef {(told: Frame) => void} Taken */
    /** @type {Map<number, {resolve: Taken, reject: (error: Error) => void, taken: Taken, message: Frame, told: Frame | null}>} */
    this._asked = new Map();
    this._lastRef = 0;
    this._attempt = 0;
    this._hintMs = /** @type {number | null} */ (null);
    this._timer = /** @type {any} */ (undefined);
    this._heardAt = 0;
    this._askedAt = 0;
    this._beatMs = LONGEST_SILENCE_MS;
    this._silenceMs = LONGEST_SILENCE_MS;
    /** @type {Frame | null} the answer to the hello; null: not connected */
    this.welcome = null;
    this.ended = false;
    /** @type {string} what the key may; without one the hub asks for none */
    this.scope = "root";
    /** @type {Promise<Ending>} */
    this.closed = new Promise((resolve) => (this._close = resolve));
    this._connect();
  }

  /** Send a message if there is a line now. @param {Frame} message */
  say(message) {
    if (this.welcome) this._socket.send(JSON.stringify(message));
  }

  /**
   * Ask, once there is a line; a line that breaks meanwhile, or no answer in time, is Unavailable.
   * @param {Frame} message @param {number} [waitMs]
   * @param {(told: Frame) => void} [taken] called with the answer before any later frame is read
   * @returns {Promise<Frame>}
   */
  async ask(message, waitMs = LONGEST_SILENCE_MS, taken = () => {}) {
    if (this.ended) throw new Closed("The line has ended.", "closed");
    const ref = ++this._lastRef;
    const asked = { ...message, ref };
    /** @type {any} */
    let timer;
    const answer = new Promise((resolve, reject) => {
      this._asked.set(ref, { resolve, reject, taken, message: asked, told: null });
      timer = setTimeout(() => reject(new Unavailable("The hub does not answer.", "unavailable")), waitMs);
    });
    this.say(asked);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
      this._asked.delete(ref);
    }
  }

  /** End the line for good. @param {number} code @param {string} reason */
  end(code, reason) {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this._timer);
    this._drop();
    for (const { reject } of this._asked.values()) reject(new Closed(reason || "The line has ended.", "closed"));
    this._close({ code, reason });
    this.dispatchEvent(new CustomEvent("closed", { detail: { code, reason } }));
  }

  async _connect() {
    const url = this._urls[this._attempt % this._urls.length];
    // Every other time from then on, for the hub itself may be what is not there.
    const streams = this._observes && this._unopened >= UNOPENED && this._unopened % 2 === 0;
    this._unopened += 1;
    try {
      const socket = await this._opened(url, streams);
      if (!socket) return;
      this._socket = socket;
      this._timer = setTimeout(() => this._broken(socket, 1006, ""), OPENING_MS);
      socket.onopen = () => {
        if (!streams) this._unopened = 0;
        socket.send(JSON.stringify({ type: "hello", ...this._hello() }));
      };
      socket.onmessage = (/** @type {any} */ event) => this._receive(JSON.parse(event.data));
      socket.onclose = (/** @type {any} */ event) => this._broken(socket, event.code, event.reason);
      socket.onerror = () => {}; // what became of it, the close says
    } catch (error) {
      const { code } = /** @type {any} */ (error);
      const ending = TURNED_AWAY.get(code);
      if (ending) this.end(ending, code);
      else this._again();
    }
  }

  /** Begin to open a socket, or what stands for one. @param {string} url @param {boolean} streams */
  async _opened(url, streams) {
    const ticket = this._key && (await this._ticket(url));
    if (this.ended) return null;
    if (streams) return /** @type {any} */ (new StreamSocket(url, { key: this._key, project: this._project }));
    const Socket = /** @type {any} */ (globalThis.WebSocket ?? NodeSocket);
    const entrance = `${url.replace(/^http/, "ws")}/v1/connect`;
    return new Socket(ticket ? `${entrance}?ticket=${encodeURIComponent(ticket)}` : entrance, PROTOCOL);
  }

  /** Change the key for a ticket: no browser lets a page send a header with a socket.
   * @param {string} url @returns {Promise<string>} */
  async _ticket(url) {
    const told = await this._fetch(url, "POST", "/v1/tickets", { for: "connect" });
    this.scope = told.scope;
    return told.ticket;
  }

  /**
   * Call the REST API of the hub that the line leads to.
   * @param {string} method @param {string} path @param {any} [body]
   * @returns {Promise<Frame>}
   */
  call(method, path, body) {
    return this._fetch(this._urls[this._attempt % this._urls.length], method, path, body);
  }

  /** @param {string} url @param {string} method @param {string} path @param {any} [body] */
  _fetch(url, method, path, body) {
    return fetched(url + path, method, { key: this._key, project: this._project, body });
  }

  /** @param {any} socket @param {number} code @param {string} reason */
  _broken(socket, code, reason) {
    if (socket !== this._socket) return; // it was left before
    if (!RECONNECTABLE.has(code)) this.end(code, reason);
    else this._again();
  }

  _again() {
    if (this.ended) return;
    const former = this.welcome;
    this._drop();
    // Asked and perhaps done: whoever asked must look. What was never sent waits for the next line.
    for (const [ref, { reject }] of this._asked) {
      if (!former) continue;
      reject(new Unavailable("The line broke before the answer.", "unavailable"));
      this._asked.delete(ref);
    }
    const waitMs = this._hintMs ?? delayMs(this._attempt, Math.random());
    this._hintMs = null;
    this._attempt += 1;
    this._timer = setTimeout(() => this._connect(), waitMs);
    if (former) this.dispatchEvent(new Event("disconnected"));
  }

  _drop() {
    clearTimeout(this._timer);
    const socket = this._socket;
    this._socket = this.welcome = null;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    socket?.close();
  }

  /** @param {Frame} frame */
  _receive(frame) {
    this._heardAt = performance.now();
    if (frame.type === "welcome") return this._open(frame);
    if (frame.type === "goaway") this._hintMs = frame.reconnect_in_ms;
    const asked = this._asked.get(frame.ref);
    if (!asked) {
      this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
    } else if (frame.type === "error") {
      asked.reject(refusal(frame));
    } else {
      // An answer in several frames is put together.
      if (asked.told && frame.agents) frame.agents = joined(asked.told.agents, frame.agents);
      asked.told = frame;
      if (frame.more) return;
      asked.taken(frame);
      asked.resolve(frame);
    }
  }

  /** @param {Frame} welcome */
  _open(welcome) {
    clearTimeout(this._timer);
    this._attempt = 0;
    this._unopened = this._socket instanceof StreamSocket ? UNOPENED - 1 : 0; // then a socket is tried anew
    this.welcome = welcome;
    this._beatMs = welcome.beat_every ? welcome.beat_every * 1000 : LONGEST_SILENCE_MS;
    this._silenceMs = Math.min(LONGEST_SILENCE_MS, welcome.ttl ? welcome.ttl * 500 : LONGEST_SILENCE_MS);
    this._askedAt = this._heardAt;
    for (const { message } of this._asked.values()) this.say(message);
    this._timer = setTimeout(() => this._beat(), this._beatMs);
    this.dispatchEvent(new CustomEvent("connected", { detail: welcome }));
  }

  /** Beat, ask for an answer, and leave a hub that gives none. */
  _beat() {
    const now = performance.now();
    const awaited = this._heardAt < this._askedAt;
    if (awaited && now - this._askedAt >= this._silenceMs) {
      this._broken(this._socket, 1006, "");
      return;
    }
    if (!awaited) this._askedAt = now;
    this.say({ type: this.welcome?.agent ? "beat" : "ping", ref: 0 });
    const givenUpMs = this._askedAt + this._silenceMs - now;
    this._timer = setTimeout(() => this._beat(), Math.min(this._beatMs, Math.max(givenUpMs, 1)));
  }
}

/** @param {any} some @param {any} others */
function joined(some, others) {
  return Array.isArray(some) ? [...some, ...others] : { ...some, ...others };
}
