/** The fleet as a picture: one cell an agent, put together in groups, drawn only where it altered. */

import { GROUPINGS } from "./filter.js";
import { laidOut } from "./layout.js";
import { STATES, colours, rankOf } from "./state.js";

/** @typedef {import("./fleet.js").Fleet} Fleet */
/** @typedef {import("./filter.js").Judge} Judge */
/** @typedef {import("./layout.js").Layout} Layout */

const SHAPED_PITCH = 8; // cells as large as this have the shape of their state
const FLASH_MS = 700;
const FLASHES = 300; // more of them at once would only flicker
const DIMMED = 0.14;
const REST = 4; // between two layouts, so many times as long as one takes
const LEAST_REST_MS = 120;

export class FleetMap {
  /** @param {HTMLCanvasElement} canvas @param {Fleet} fleet @param {() => number} heightOf */
  constructor(canvas, fleet, heightOf) {
    this.canvas = canvas;
    this._pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this._fleet = fleet;
    this._heightOf = heightOf;
    this._grouping = "capability";
    /** @type {Judge | null} */
    this._judge = null;
    /** @type {Layout} */
    this.layout = laidOut([], 0, 0);
    /** @type {string[]} */
    this._colours = [];
    this._shapes = STATES.map(({ path }) => new Path2D(path));
    /** @type {Map<string, number>} when a cell altered */
    this._flashes = new Map();
    this._calm = matchMedia("(prefers-reduced-motion: reduce)");
    this._dirty = new Set();
    this._whole = true;
    this._structure = true;
    this._laidAt = 0;
    this._laidFor = 0;
    this._marked = "";
    this._frame = 0;
    this._waiting = 0;
    this._observer = new ResizeObserver(() => this.refresh());
    if (canvas.parentElement) this._observer.observe(canvas.parentElement);
    /** @type {() => void} called after a layout */
    this.onlayout = () => {};
  }

  end() {
    this._observer.disconnect();
    cancelAnimationFrame(this._frame);
    clearTimeout(this._waiting);
  }

  /** @param {string} grouping */
  group(grouping) {
    this._grouping = grouping;
    this.refresh();
  }

  /** Show others only faintly. @param {Judge | null} judge */
  judge(judge) {
    this._judge = judge;
    this._whole = true;
    this._schedule();
  }

  /** Lay out and draw everything. */
  refresh() {
    this._structure = true;
    this._schedule();
  }

  /** Take the colours as they are now. */
  recolour() {
    this._colours = [];
    this._whole = true;
    this._schedule();
  }

  /** Take what altered. @param {Set<string>} ids @param {boolean} anew */
  take(ids, anew) {
    if (anew) return this.refresh();
    const now = performance.now();
    const groupOf = GROUPINGS[this._grouping];
    for (const id of ids) {
      const shown = this._fleet.agents.get(id);
      const block = this.layout.blockOf.get(id);
      if (!shown || !block || !block.holds(groupOf(shown))) this._structure = true;
      this._dirty.add(id);
      if (this._flashes.size < FLASHES && !this._calm.matches) this._flashes.set(id, now);
    }
    this._schedule();
  }

  /** Mark the cell of an agent; "" for none. @param {string} id */
  mark(id) {
    if (id === this._marked) return;
    for (const each of [this._marked, id]) if (each) this._dirty.add(each);
    this._marked = id;
    this._schedule();
  }

  _schedule() {
    if (!this._frame) this._frame = requestAnimationFrame((now) => this._draw(now));
  }

  /** @param {number} now */
  _draw(now) {
    this._frame = 0;
    if (!this._colours.length) {
      this._colours = colours();
      const style = getComputedStyle(this.canvas);
      this._ink = style.color;
      this._faint = style.getPropertyValue("--faint-ink");
    }
    if (this._structure) {
      const waitMs = this._laidAt + Math.max(LEAST_REST_MS, REST * this._laidFor) - now;
      if (waitMs <= 0) this._lay();
      else if (!this._waiting) {
        this._waiting = setTimeout(() => {
          this._waiting = 0;
          this._schedule();
        }, waitMs);
      }
    }
    if (this._whole) this._drawAll();
    else for (const id of this._dirty) this._drawCell(id, now);
    this._dirty.clear();
    this._whole = false;
    for (const [id, at] of this._flashes) {
      if (now - at > FLASH_MS) this._flashes.delete(id);
      this._dirty.add(id);
    }
    if (this._flashes.size || this._dirty.size) this._schedule();
  }

  _lay() {
    const begun = performance.now();
    const groupOf = GROUPINGS[this._grouping];
    /** @type {Map<string, string[]>} */
    const groups = new Map();
    for (const [id, shown] of this._fleet.agents) {
      const name = groupOf(shown);
      const ids = groups.get(name);
      if (ids) ids.push(id);
      else groups.set(name, [id]);
    }
    const width = this.canvas.parentElement?.clientWidth ?? 0;
    this.layout = laidOut([...groups], width, this._heightOf());
    const { height } = this.layout;
    const ratio = devicePixelRatio;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    this._pen.scale(ratio, ratio);
    this._structure = false;
    this._whole = true;
    this._laidAt = performance.now();
    this._laidFor = this._laidAt - begun;
    this.onlayout();
  }

  _drawAll() {
    const pen = this._pen;
    const { blocks, pitch, width, height } = this.layout;
    pen.clearRect(0, 0, width, height);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "alphabetic";
    for (const block of blocks) {
      pen.fillStyle = this._ink ?? "";
      pen.fillText(fitted(pen, block.title, block.width - 44), block.x, block.y - 7);
      pen.fillStyle = this._faint ?? "";
      pen.fillText(
        String(block.ids.length),
        block.x + pen.measureText(fitted(pen, block.title, block.width - 44)).width + 6,
        block.y - 7,
      );
    }
    /** @type {number[][]} x and y of the cells of each look */
    const looks = STATES.flatMap(() => [[], []]);
    for (const block of blocks) {
      block.ids.forEach((id, i) => {
        const shown = this._fleet.agents.get(id);
        if (!shown) return;
        const look = looks[2 * rankOf(shown.state) + (this._judge && !this._judge(shown) ? 1 : 0)];
        look.push(block.x + (i % block.columns) * pitch, block.y + Math.floor(i / block.columns) * pitch);
      });
    }
    looks.forEach((cells, look) => {
      const rank = look >> 1;
      pen.fillStyle = this._colours[rank];
      pen.globalAlpha = look & 1 ? DIMMED : 1;
      for (let i = 0; i < cells.length; i += 2) this._shape(rank, cells[i], cells[i + 1]);
    });
    pen.globalAlpha = 1;
    if (this._marked) this._drawCell(this._marked, 0);
  }

  /** @param {string} id @param {number} now */
  _drawCell(id, now) {
    const place = this.layout.placeOf(id);
    if (!place) return;
    const pen = this._pen;
    const { pitch } = this.layout;
    pen.clearRect(place.x, place.y, pitch, pitch);
    const shown = this._fleet.agents.get(id);
    if (!shown) return;
    const rank = rankOf(shown.state);
    const left = 1 - (now - (this._flashes.get(id) ?? -FLASH_MS)) / FLASH_MS;
    if (left > 0 && now) {
      pen.globalAlpha = 0.35 * left;
      pen.fillStyle = this._colours[rank];
      pen.fillRect(place.x, place.y, pitch, pitch);
    }
    pen.globalAlpha = this._judge && !this._judge(shown) ? DIMMED : 1;
    pen.fillStyle = this._colours[rank];
    this._shape(rank, place.x, place.y);
    pen.globalAlpha = 1;
    if (id === this._marked) {
      pen.strokeStyle = this._ink ?? "";
      pen.lineWidth = pitch >= SHAPED_PITCH ? 1.5 : 1;
      pen.strokeRect(place.x + 0.5, place.y + 0.5, pitch - 1, pitch - 1);
    }
  }

  /** @param {number} rank @param {number} x @param {number} y */
  _shape(rank, x, y) {
    const pen = this._pen;
    const { pitch } = this.layout;
    if (pitch < SHAPED_PITCH) {
      const gap = pitch > 3 ? 1 : 0; // smaller ones with gaps would be a net
      return pen.fillRect(x, y, pitch - gap, pitch - gap);
    }
    const gap = pitch * 0.14;
    const scale = (pitch - 2 * gap) / 16;
    const ratio = devicePixelRatio;
    pen.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * (x + gap), ratio * (y + gap));
    pen.fill(this._shapes[rank], "evenodd");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  }
}

/** @param {CanvasRenderingContext2D} pen @param {string} text @param {number} width */
function fitted(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let kept = text.slice(0, 60);
  while (kept.length > 1 && pen.measureText(`${kept}…`).width > width) kept = kept.slice(0, -1);
  return `${kept}…`;
}
