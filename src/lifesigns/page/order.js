/** Who stands where in the table: those wanted, put in order without comparing them one by one. */

import { rankOf } from "./state.js";

/** @typedef {import("../javascript/mirror.js").Presence} Presence */
/** @typedef {import("./filter.js").Judge} Judge */

/** What can be sorted by; each is a word of few values, or nearly as many as agents.
 * @type {Record<string, (shown: Presence) => string | number>} */
export const KEYS = {
  state: (shown) => rankOf(shown.state),
  id: () => 0,
  status: (shown) => shown.status ?? "",
  dialect: (shown) => shown.dialect ?? "",
  group: (shown) => shown.group ?? "",
  capability: (shown) => shown.capabilities?.join(", ") ?? "",
};

export class Order {
  constructor() {
    /** @type {string[]} all ids in order */
    this._ids = [];
    this._stale = true;
  }

  /** Somebody came or went. */
  upset() {
    this._stale = true;
  }

  /**
   * Put the wanted in order: by the key, those with nothing to say last, and by id among equals.
   * @param {Map<string, Presence>} agents @param {Judge | null} judge
   * @param {string} sort a key, after a `-` the other way round
   * @returns {string[]}
   */
  of(agents, judge, sort) {
    if (this._stale || this._ids.length !== agents.size) this._ids = [...agents.keys()].sort();
    this._stale = false;
    const backwards = sort.startsWith("-");
    const keyOf = KEYS[backwards ? sort.slice(1) : sort] ?? KEYS.state;
    /** @type {Map<string | number, string[]>} */
    const shelves = new Map();
    for (const id of this._ids) {
      const shown = agents.get(id);
      if (!shown || (judge && !judge(shown))) continue;
      const key = keyOf(shown);
      const shelf = shelves.get(key);
      if (shelf) shelf.push(id);
      else shelves.set(key, [id]);
    }
    if (keyOf === KEYS.id) {
      const all = shelves.get(0) ?? [];
      return backwards ? all.reverse() : all;
    }
    const names = [...shelves.keys()].sort((one, other) => {
      if (one === "" || other === "") return one === "" ? 1 : -1;
      return (one < other ? -1 : 1) * (backwards ? -1 : 1);
    });
    return names.flatMap((name) => shelves.get(name) ?? []);
  }
}
