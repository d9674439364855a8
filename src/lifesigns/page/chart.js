/** Pictures of numbers over time: lines, or areas that stand on each other. */

import { fill, h, s, write } from "./element.js";
import { clock, exact } from "./time.js";

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {string} look the class that gives it its colour
 * @typedef {{at: number, values: number[]}} Point one value for each series
 */

const HEIGHT = 150;
const LEFT = 40;
const BOTTOM = 20;
const TOP = 8;
const RIGHT = 8;
const STEPS_MS = [
  60_000, 120_000, 300_000, 900_000, 1_800_000, 3_600_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000, 604_800_000,
  2_592_000_000,
];

export class Chart {
  /**
   * @param {string} title @param {Series[]} series
   * @param {{stacked?: boolean, format?: (value: number) => string, height?: number}} [options]
   */
  constructor(title, series, { stacked = false, format = short, height = HEIGHT } = {}) {
    this._title = title;
    this._series = series;
    this._stacked = stacked;
    this._format = format;
    this._high = height;
    /** @type {Point[]} */
    this._points = [];
    this._from = this._to = this._top = 0;
    this._width = 600;
    this._grid = s("g", { class: "grid" });
    this._marks = s("g", {});
    this._cross = s("line", { class: "cross", y1: TOP, y2: height - BOTTOM, visibility: "hidden" });
    this._picture = s(
      "svg",
      { role: "img", "aria-label": title, height, tabindex: 0 },
      this._grid,
      this._marks,
      this._cross,
    );
    this._told = h("p", { class: "chart-told" });
    this.root = h("figure", { class: "chart" }, this._picture, this._told);
    this._picture.addEventListener("pointermove", (event) => this._point(/** @type {PointerEvent} */ (event).offsetX));
    this._picture.addEventListener("pointerleave", () => this._point(null));
    this._picture.addEventListener("keydown", (event) => this._step(/** @type {KeyboardEvent} */ (event)));
    this._pointed = /** @type {number | null} */ (null);
    this._observer = new ResizeObserver(([{ contentRect }]) => {
      if (Math.abs(contentRect.width - this._width) < 1) return;
      this._width = contentRect.width;
      this._draw();
    });
    this._observer.observe(this.root);
  }

  end() {
    this._observer.disconnect();
  }

  /**
   * Show these.
   * @param {Point[]} points @param {number} from @param {number} to @param {Series[]} [series]
   * @param {number} [gapMs] points further apart are not joined: nobody looked in between
   */
  show(points, from, to, series = this._series, gapMs = Infinity) {
    this._points = points;
    this._gapMs = gapMs;
    this._series = series;
    [this._from, this._to] = [from, to];
    this._draw();
  }

  /** @param {Point} point @returns {number} */
  _sum(point) {
    return point.values.reduce((sum, value) => sum + value, 0);
  }

  /** @param {number} at */
  _x(at) {
    return LEFT + ((at - this._from) / (this._to - this._from || 1)) * (this._width - LEFT - RIGHT);
  }

  /** @param {number} value */
  _y(value) {
    return this._high - BOTTOM - (value / (this._top || 1)) * (this._high - BOTTOM - TOP);
  }

  _draw() {
    const greatest = Math.max(
      0,
      ...this._points.map((point) => (this._stacked ? this._sum(point) : Math.max(...point.values))),
    );
    this._top = rounded(greatest);
    this._picture.setAttribute("viewBox", `0 0 ${this._width} ${this._high}`);
    fill(this._grid, this._lines());
    const runs = this._runs();
    const shape = (/** @type {number} */ i) =>
      runs.map((run) => (this._stacked ? this._area(i, run) : this._line(i, run))).join("");
    fill(
      this._marks,
      this._series.map(({ look }, i) =>
        s("path", { class: `${this._stacked ? "area" : "line"} ${look}`, d: shape(i) }),
      ),
    );
    this._point(this._pointed);
    const last = this._points.at(-1);
    const now = last
      ? this._series.map(({ name }, i) => `${name} ${this._format(last.values[i])}`).join(", ")
      : "nothing yet";
    this._picture.setAttribute("aria-label", `${this._title}. Now: ${now}. Arrow keys read the points.`);
  }

  _lines() {
    const lines = [];
    for (const part of [0, 0.5, 1]) {
      const y = this._y(this._top * part);
      lines.push(s("line", { x1: LEFT, x2: this._width - RIGHT, y1: y, y2: y }));
      lines.push(s("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, this._format(this._top * part)));
    }
    const most = Math.max(1, Math.floor((this._width - LEFT) / 90));
    const step = STEPS_MS.find((each) => (this._to - this._from) / each <= most) ?? STEPS_MS[STEPS_MS.length - 1];
    const zone = new Date(this._to).getTimezoneOffset() * 60_000;
    for (let at = Math.ceil((this._from - zone) / step) * step + zone; at <= this._to; at += step) {
      const text =
        step >= 86_400_000
          ? new Date(at).toLocaleDateString(undefined, { month: "short", day: "numeric" })
          : clock(at, false);
      lines.push(s("text", { x: this._x(at), y: this._high - 4, "text-anchor": "middle" }, text));
    }
    return lines;
  }

  /** The points in runs without a gap. @returns {Point[][]} */
  _runs() {
    /** @type {Point[][]} */
    const runs = [];
    for (const point of this._points) {
      const run = runs.at(-1);
      const last = run?.at(-1);
      if (run && last && point.at - last.at <= (this._gapMs ?? Infinity)) run.push(point);
      else runs.push([point]);
    }
    return runs;
  }

  /** @param {number} i @param {Point[]} run */
  _line(i, run) {
    if (run.length === 1) run = [run[0], { ...run[0], at: run[0].at + 1 }];
    return run
      .map((point, n) => `${n ? "L" : "M"}${this._x(point.at).toFixed(1)} ${this._y(point.values[i]).toFixed(1)}`)
      .join("");
  }

  /** @param {number} i @param {Point[]} run */
  _area(i, run) {
    const edge = (/** @type {Point} */ point, /** @type {number} */ upTo) => {
      let sum = 0;
      for (let n = 0; n < upTo; n += 1) sum += point.values[n];
      return `${this._x(point.at).toFixed(1)} ${this._y(sum).toFixed(1)}`;
    };
    const upper = run.map((point) => edge(point, i + 1));
    const lower = run.map((point) => edge(point, i)).reverse();
    return `M${[...upper, ...lower].join("L")}Z`;
  }

  /** @param {number | null} x */
  _point(x) {
    this._pointed = x;
    if (x === null || !this._points.length) {
      this._cross.setAttribute("visibility", "hidden");
      return this._tell(this._points.at(-1), true);
    }
    const near = this._points.reduce((best, point) =>
      Math.abs(this._x(point.at) - x) < Math.abs(this._x(best.at) - x) ? point : best,
    );
    for (const end of ["x1", "x2"]) this._cross.setAttribute(end, String(this._x(near.at)));
    this._cross.setAttribute("visibility", "visible");
    this._tell(near, false);
  }

  /** @param {KeyboardEvent} event */
  _step(event) {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way || !this._points.length) return;
    event.preventDefault();
    const places = this._points.map((point) => this._x(point.at));
    const at =
      this._pointed === null
        ? places.length - 1
        : places.findIndex((x) => Math.abs(x - (this._pointed ?? 0)) < 0.01) + way;
    this._point(places[Math.max(0, Math.min(places.length - 1, at))]);
    this._picture.setAttribute("aria-label", this._told.textContent ?? "");
  }

  /** @param {Point | undefined} point @param {boolean} now */
  _tell(point, now) {
    if (!point) return write(this._told, "Nothing yet.");
    const shown = this._series.map(({ name, look }, i) =>
      h("span", { class: "key" }, h("i", { class: look }), `${name} `, h("b", {}, this._format(point.values[i]))),
    );
    fill(
      this._told,
      h("span", { class: "quiet", title: exact(point.at) }, now ? "now" : clock(point.at)),
      " ",
      this._stacked ? shown.reverse() : shown,
    );
  }
}

/** Spell a number shortly. @param {number} value */
export function short(value) {
  if (value >= 1e6) return `${+(value / 1e6).toFixed(1)}M`;
  if (value >= 1e4) return `${+(value / 1e3).toFixed(0)}k`;
  if (value >= 1e3) return `${+(value / 1e3).toFixed(1)}k`;
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

/** The next number at which a scale may end well. @param {number} value */
function rounded(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((each) => each * power >= value) ?? 10) * power;
}
