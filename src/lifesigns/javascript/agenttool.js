/** The pulse API as its own programs call it: one import is all that changes. */

import { DEFAULT_URL, environment } from "./line.js";
import { fetched } from "./rest.js";

/** @typedef {Record<string, any>} State what the hub tells of an agent */
/** @typedef {State[] & {agents: State[]}} Fleet agents: an array, and an object that has it */

/** The heartbeats of agents, and what is known of them. */
class Pulse {
  /** @param {string} url @param {string | undefined} key */
  constructor(url, key) {
    this._root = `${url.replace(/\/+$/, "")}/v1/pulse`;
    this._key = key;
  }

  /**
   * Tell that an agent is alive.
   * @param {string} agent its id
   * @param {{status?: string, task?: string, metadata?: Record<string, any>, did?: string, ttl?: number}} [said]
   * @returns {Promise<State>}
   */
  async heartbeat(agent, said = {}) {
    return this._call("PUT", `/${encodeURIComponent(agent)}`, said);
  }

  /** Ask what is known of one agent. @param {string} agent its id @returns {Promise<State>} */
  async get(agent) {
    return this._call("GET", `/${encodeURIComponent(agent)}`);
  }

  /** Ask for all that are alive. @returns {Promise<Fleet>} */
  async list() {
    /** @type {State[]} */
    const agents = [];
    for (let after = ""; after !== null; ) {
      const page = await this._call("GET", after && `?after=${encodeURIComponent(after)}`);
      agents.push(...page.agents);
      after = page.next;
    }
    return Object.assign(agents, { agents });
  }

  /** @param {string} method @param {string} path @param {State} [said] @returns {Promise<State>} */
  _call(method, path, said) {
    return fetched(this._root + path, method, { key: this._key, body: said });
  }
}

/** A hub, for programs of the pulse API; `pulse` is all that it has. */
export class AgentTool {
  /** @param {{apiKey?: string, baseUrl?: string}} [options] else `AT_API_KEY` and `AT_BASE_URL`, else as for `Hub` */
  constructor({ apiKey, baseUrl } = {}) {
    const url = baseUrl || environment("AT_BASE_URL") || environment("LIFESIGNS_URL") || DEFAULT_URL;
    this.pulse = new Pulse(url, apiKey || environment("AT_API_KEY") || environment("LIFESIGNS_KEY"));
  }
}
