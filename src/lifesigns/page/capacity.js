/** How many did what over time, so that one can say how many are needed: stacked, from the samples. */

import { Chart } from "./chart.js";
import { choice, fill, h } from "./element.js";
import { ask, read } from "./route.js";
import { STATES } from "./state.js";
import { nowMs } from "./time.js";

const HOUR_MS = 3_600_000;
/** @type {[string, string][]} in hours */
const SPANS = [
  ["0.25", "15 minutes"],
  ["1", "1 hour"],
  ["6", "6 hours"],
  ["24", "24 hours"],
  ["168", "7 days"],
  ["720", "30 days"],
  ["2160", "90 days"],
];
const ASKED_MS = 10_000;
const SERIES = 8; // words beyond these lie together
const OTHERS = "others";
const NUMBERS = /** @type {const} */ (["sum", "avg", "max"]);
const METADATA = "metadata.";

/** @typedef {{at: string, total: number, counts: Record<string, number>, value?: Record<string, number>}} Sample */

export class Capacity {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.title = "Capacity";
    this._page = page;
    this._controls = h("div", { class: "bar" });
    this._note = h("p", { class: "quiet", role: "status" });
    this._count = new Chart("Agents alive", [], { stacked: true, height: 300 });
    this._countTitle = h("h2", {}, "Agents alive");
    this._values = h("div", { class: "values" });
    /** @type {Map<string, Chart>} */
    this._valueCharts = new Map();
    this.root = h(
      "div",
      { class: "capacity" },
      h("h1", { class: "unseen" }, "Capacity"),
      this._controls,
      h("section", { class: "panel" }, h("header", {}, this._countTitle, this._note), this._count.root),
      this._values,
    );
    this._parts = ["state", "status", "dialect", "group"];
    this._timer = setInterval(() => this._ask(), ASKED_MS);
    this.route();
  }

  end() {
    clearInterval(this._timer);
    for (const chart of [this._count, ...this._valueCharts.values()]) chart.end();
  }

  connected() {
    this._ask();
  }

  route() {
    const { query } = read(location.hash);
    this._by = query.get("by") ?? "state";
    this._hours = Number(query.get("hours")) || 1;
    this._offer();
    this._ask();
  }

  _offer() {
    /** @type {[string, string][]} */
    const parts = this._parts.map((part) => [part, part.replace(METADATA, "")]);
    fill(
      this._controls,
      choice("By", parts, this._by ?? "", (by) => ask({ by: by === "state" ? null : by }, true)),
      choice("over", SPANS, String(this._hours), (hours) => ask({ hours: hours === "1" ? null : hours }, true)),
    );
    this._countTitle.textContent = `Agents alive by ${(this._by ?? "").replace(METADATA, "")}`;
  }

  async _ask() {
    const to = nowMs();
    const from = to - (this._hours ?? 1) * HOUR_MS;
    const by = this._by ?? "state";
    const told = await this._history(from, to, by);
    if (!told || by !== this._by) return;
    if (told.parts.join() !== this._parts.join()) {
      this._parts = told.parts;
      this._offer();
    }
    const { points, series } = stacked(told.points, by);
    this._count.show(points, from, to, series, told.step_s * 2500);
    this._note.textContent = points.length ? "" : "No sample of this time is kept.";
    for (const part of told.parts)
      if (part.startsWith(METADATA)) await this._askValue(part.slice(METADATA.length), from, to);
  }

  /** Ask for the numbers that agents tell under a key, if they are numbers.
   * @param {string} key @param {number} from @param {number} to */
  async _askValue(key, from, to) {
    const told = await this._history(from, to, "state", key);
    const points = told?.points.filter((/** @type {Sample} */ { value }) => value?.n) ?? [];
    if (!points.length) return;
    let chart = this._valueCharts.get(key);
    if (!chart) {
      chart = new Chart(
        key,
        NUMBERS.map((name, i) => ({ name, look: `c-${i + 1}` })),
      );
      this._valueCharts.set(key, chart);
      this._values.append(
        h(
          "section",
          { class: "panel" },
          h("header", {}, h("h2", {}, key), h("span", { class: "quiet" }, "as the agents tell it")),
          chart.root,
        ),
      );
    }
    chart.show(
      points.map((/** @type {any} */ { at, value }) => ({
        at: Date.parse(at),
        values: NUMBERS.map((name) => value[name]),
      })),
      from,
      to,
      undefined,
      told ? told.step_s * 2500 : undefined,
    );
  }

  /** @param {number} from @param {number} to @param {string} by @param {string} [value] */
  async _history(from, to, by, value) {
    const asked = new URLSearchParams({ from: new Date(from).toISOString(), to: new Date(to).toISOString(), by });
    if (value) asked.set("value", value);
    try {
      return await this._page.ask("GET", `/v1/stats/history?${asked}`);
    } catch (error) {
      this._note.textContent = /** @type {Error} */ (error).message;
      return null;
    }
  }
}

/**
 * Make of samples what can be stacked: states by their order, other words by how often they come.
 * @param {Sample[]} samples @param {string} by
 * @returns {{points: import("./chart.js").Point[], series: import("./chart.js").Series[]}}
 */
export function stacked(samples, by) {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const { counts } of samples)
    for (const [word, count] of Object.entries(counts)) sums.set(word, (sums.get(word) ?? 0) + count);
  let words = [...sums.keys()].sort((one, other) => (sums.get(other) ?? 0) - (sums.get(one) ?? 0));
  /** @type {import("./chart.js").Series[]} */
  let series;
  if (by === "state") {
    words = STATES.map(({ name }) => name)
      .filter((name) => sums.has(name))
      .reverse();
    series = words.map((name) => ({ name, look: `s-${name}` }));
  } else {
    const own = words.slice(0, SERIES);
    series = own.map((name, i) => ({ name, look: `c-${i + 1}` }));
    if (words.length > SERIES) series.push({ name: OTHERS, look: "c-others" });
  }
  const points = samples.map(({ at, counts }) => {
    const values = series.map(({ name, look }) =>
      look === "c-others"
        ? words.slice(SERIES).reduce((sum, word) => sum + (counts[word] ?? 0), 0)
        : (counts[name] ?? 0),
    );
    return { at: Date.parse(at), values };
  });
  return { points, series };
}
