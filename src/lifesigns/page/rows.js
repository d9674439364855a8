/** Rows that are there only where they are seen, so that a hundred thousand cost as much as forty. */

import { h } from "./element.js";

const ROW = 34;
const BEYOND = 6; // rows above and below those that are seen
const PAGE = 12;

export class Rows {
  /**
   * @param {string} label
   * @param {(row: HTMLElement, id: string) => void} draw
   * @param {(id: string) => void} chosen
   */
  constructor(label, draw, chosen) {
    this._draw = draw;
    this._chosen = chosen;
    /** @type {string[]} */
    this._ids = [];
    /** @type {Map<string, HTMLElement>} */
    this._rows = new Map();
    this._at = -1;
    this._active = "";
    this._tall = h("div", { class: "rows-tall" });
    this.root = h("div", { class: "rows", role: "rowgroup", tabindex: 0, "aria-label": label }, this._tall);
    this.root.addEventListener("scroll", () => this.show());
    this.root.addEventListener("keydown", (event) => this._press(event));
    this._observer = new ResizeObserver(() => this.show());
    this._observer.observe(this.root);
    /** @type {(ids: string[]) => void} called with those that are there now */
    this.onseen = () => {};
    this._seen = "";
  }

  end() {
    this._observer.disconnect();
  }

  /** Show these, in this order. @param {string[]} ids */
  fill(ids) {
    this._ids = ids;
    if (this._active) this._at = ids.indexOf(this._active);
    const height = `${ids.length * ROW}px`;
    if (this._tall.style.height !== height) this._tall.style.height = height;
    this.show();
  }

  /** Draw those again that are there. @param {Set<string>} [ids] only these */
  redraw(ids) {
    for (const [id, row] of this._rows) if (!ids || ids.has(id)) this._draw(row, id);
  }

  show() {
    const first = Math.max(0, Math.floor(this.root.scrollTop / ROW) - BEYOND);
    const last = Math.min(this._ids.length, Math.ceil((this.root.scrollTop + this.root.clientHeight) / ROW) + BEYOND);
    const wanted = new Map();
    for (let i = first; i < last; i += 1) wanted.set(this._ids[i], i);
    const spare = [];
    for (const [id, row] of this._rows) {
      if (wanted.has(id)) continue;
      this._rows.delete(id);
      spare.push(row);
    }
    for (const [id, i] of wanted) {
      let row = this._rows.get(id);
      if (!row) {
        row = spare.pop() ?? this._made();
        this._rows.set(id, row);
        row.dataset.id = id;
        this._draw(row, id);
      }
      const place = `translateY(${i * ROW}px)`;
      if (row.style.transform !== place) row.style.transform = place;
      row.setAttribute("aria-rowindex", String(i + 2));
      row.id = `row-${i}`;
      row.classList.toggle("active", id === this._active);
    }
    for (const row of spare) row.remove();
    const seen = [...wanted.keys()].join(" ");
    if (seen === this._seen) return;
    this._seen = seen;
    this.onseen([...wanted.keys()]);
  }

  _made() {
    const row = h("div", { class: "row", role: "row", onclick: () => this._chosen(row.dataset.id ?? "") });
    this._tall.append(row);
    return row;
  }

  /** @param {KeyboardEvent} event */
  _press(event) {
    const last = this._ids.length - 1;
    const steps = /** @type {Record<string, number>} */ ({
      ArrowDown: this._at + 1,
      ArrowUp: this._at - 1,
      PageDown: this._at + PAGE,
      PageUp: this._at - PAGE,
      Home: 0,
      End: last,
    });
    if (event.key === "Enter" && this._active) return this._chosen(this._active);
    if (!Object.hasOwn(steps, event.key) || last < 0) return;
    event.preventDefault();
    this._at = Math.max(0, Math.min(last, steps[event.key]));
    this._active = this._ids[this._at];
    const top = this._at * ROW;
    if (top < this.root.scrollTop) this.root.scrollTop = top;
    if (top + ROW > this.root.scrollTop + this.root.clientHeight)
      this.root.scrollTop = top + ROW - this.root.clientHeight;
    this.show();
    this.root.setAttribute("aria-activedescendant", `row-${this._at}`);
  }
}
