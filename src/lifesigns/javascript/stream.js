/**
 * As much of a line as an observer has where no WebSocket passes: its watches are event streams, its
 * questions calls of the REST API. It takes and gives the messages of a socket.
 */

import { fetched } from "./rest.js";

/** @typedef {import("./error.js").Frame} Frame */

// How each question is asked; what else there is cannot be asked without a socket.
/** @type {Record<string, (asked: Frame) => [string, string, any, string]>} */
const CALLS = {
  check: ({ type, ref, ...body }) => ["POST", "/v1/check", body, "checked"],
  pick: ({ type, ref, ...body }) => ["POST", "/v1/pick", body, "picked"],
  claim: ({ type, ref, ...body }) => ["POST", "/v1/claims", body, "claimed"],
  renew: ({ claim, ttl }) => ["PUT", `/v1/claims/${encodeURIComponent(claim)}`, { ttl }, "ok"],
  release: ({ claim }) => ["DELETE", `/v1/claims/${encodeURIComponent(claim)}`, undefined, "ok"],
  ping: () => ["GET", "/livez", undefined, "pong"],
};

/** Spell a watch as the query of its event stream. @param {Frame} asked @returns {string} */
export function queryOf({ filter = {}, detail, since }) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) {
    if (name === "metadata") for (const [key, each] of Object.entries(value)) query.append(`metadata.${key}`, String(each));
    else for (const each of [value].flat()) query.append(name, String(each));
  }
  if (detail) query.set("detail", detail);
  if (since) query.set("since", since);
  return String(query);
}

/** A socket's face on event streams and calls. */
export class StreamSocket {
  /** @param {string} url @param {{key?: string, project?: string}} who */
  constructor(url, who) {
    this.onopen = this.onmessage = this.onclose = /** @type {((event: any) => void) | null} */ (null);
    this._url = url;
    this._who = who;
    this._ended = false;
    this._watches = 0;
    /** @type {Map<string, AbortController>} */
    this._open = new Map();
    setTimeout(() => !this._ended && this.onopen?.({}));
  }

  /** @param {string} text */
  send(text) {
    const asked = JSON.parse(text);
    if (asked.type === "hello") this._greet();
    else if (asked.type === "watch") this._watch(asked);
    else if (asked.type === "unwatch") this._open.get(asked.watch)?.abort();
    else this._ask(asked);
  }

  close() {
    this._ended = true;
    for (const stream of this._open.values()) stream.abort();
  }

  /** @param {number} code @param {string} reason */
  _end(code, reason) {
    if (this._ended) return;
    this.close();
    this.onclose?.({ code, reason });
  }

  /** @param {Frame} frame */
  _tell(frame) {
    if (!this._ended) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** See whether there is a hub; it welcomes nobody here, so that is done for it. */
  async _greet() {
    try {
      await fetched(`${this._url}/livez`, "GET");
      this._tell({ type: "welcome", agent: null, node: null });
    } catch {
      this._end(1006, "");
    }
  }

  /** @param {Frame} asked */
  async _ask(asked) {
    const call = CALLS[asked.type];
    if (!call) return this._refuse(asked, { code: "unsupported", message: `Without a WebSocket nobody can ${asked.type}.` });
    const [method, path, body, answer] = call(asked);
    try {
      const told = await fetched(this._url + path, method, { ...this._who, body });
      this._tell({ ...told, type: answer, ref: asked.ref });
    } catch (error) {
      // A hub that is gone is no answer: whoever waits is told when the line has ended.
      if (/** @type {any} */ (error).code === "unavailable" && asked.type === "ping") this._end(1006, "");
      else this._refuse(asked, /** @type {any} */ (error));
    }
  }

  /** @param {Frame} asked @param {{code: string, message: string}} error */
  _refuse({ ref }, { code, message }) {
    this._tell({ type: "error", ref, code, message });
  }

  /** @param {Frame} asked */
  async _watch(asked) {
    const name = `stream-${++this._watches}`;
    const stream = new AbortController();
    this._open.set(name, stream);
    try {
      /** @type {Record<string, string>} */
      const headers = { Accept: "text/event-stream" };
      if (this._who.key) headers.Authorization = `Bearer ${this._who.key}`;
      if (this._who.project) headers["X-Lifesigns-Project"] = this._who.project;
      const answer = await fetch(`${this._url}/v1/events?${queryOf(asked)}`, { headers, signal: stream.signal });
      if (!answer.ok || !answer.body) {
        const told = await answer.json();
        return this._refuse(asked, { code: told.code, message: told.error });
      }
      for await (const frame of frames(answer.body)) {
        if (frame.type === "watching") frame.ref = asked.ref;
        this._tell(frame.type === "notice" || frame.type === "goaway" ? frame : { ...frame, watch: name });
      }
    } catch {
      // Cut off, by whoever: what comes of it stands below.
    } finally {
      this._open.delete(name);
    }
    if (!stream.signal.aborted) this._end(1006, "");
  }
}

/** Take the frames out of an event stream. @param {ReadableStream<Uint8Array>} body */
async function* frames(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = /** @type {string} */ (events.pop());
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}
