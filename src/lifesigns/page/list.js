/** A list of what the hub keeps: asked for again and again, what needs attention first. */

import { mayAct } from "./action.js";
import { fill, h, write } from "./element.js";
import { ask, read } from "./route.js";

const ASKED_MS = 5_000;
const TYPED_MS = 120;
const SHOWN = 500;
const FORBIDDEN = "This key may not see them: it takes one of the scope admin.";

/** @typedef {Record<string, any>} Row */
/**
 * @typedef {object} Kind what is listed, and how
 * @property {string} title
 * @property {string} nothing said when there is nothing
 * @property {boolean} [admin] only admins may see it
 * @property {(page: import("./main.js").Page) => Promise<Row[]>} load
 * @property {[string, (row: Row, list: List) => any][]} columns heading and cell
 * @property {(row: Row) => number} worry how much it needs attention; over 0 it is marked
 * @property {(row: Row) => string} text by which it is found
 * @property {(list: List) => HTMLElement[]} [tools]
 */

export class List {
  /** @param {import("./main.js").Page} page @param {Kind} kind */
  constructor(page, kind) {
    this.title = kind.title;
    this.page = page;
    this._kind = kind;
    /** @type {Row[]} */
    this._rows = [];
    this._typing = 0;
    this._drawn = "";
    this._search = h("input", {
      type: "search",
      placeholder: "Search…",
      "aria-label": `Search ${kind.title.toLowerCase()}`,
      spellcheck: "false",
      oninput: () => this._typed(),
    });
    this._search.value = read(location.hash).query.get("q") ?? "";
    this._note = h("p", { class: "quiet", role: "status" }, "One moment.");
    this._body = h("tbody");
    this._table = h(
      "table",
      { hidden: true },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          kind.columns.map(([name]) => h("th", { scope: "col" }, name)),
        ),
      ),
      this._body,
    );
    this._tools = h("span", { class: "parts" });
    this.root = h(
      "div",
      { class: "list-view" },
      h("div", { class: "bar" }, h("h1", { class: "list-title" }, kind.title), this._search, this._tools, this._note),
      h("div", { class: "panel" }, this._table),
    );
    this.load();
    this._timer = setInterval(() => this.load(), ASKED_MS);
  }

  end() {
    clearInterval(this._timer);
    clearTimeout(this._typing);
  }

  route() {
    this._draw(true);
  }

  /** Ask again, and show it. */
  async load() {
    if (!this.page.hub.connected) return;
    // What a key may is known once there is a line.
    if (this._kind.admin && !mayAct(this.page)) return write(this._note, FORBIDDEN);
    if (!this._tools.childElementCount) fill(this._tools, this._kind.tools?.(this) ?? []);
    try {
      this._rows = await this._kind.load(this.page);
      this._draw(false);
    } catch (error) {
      write(this._note, /** @type {Error} */ (error).message);
    }
  }

  connected() {
    this.load();
  }

  _typed() {
    clearTimeout(this._typing);
    this._typing = setTimeout(() => ask({ q: this._search.value.trim() || null }, true), TYPED_MS);
  }

  /** @param {boolean} anew */
  _draw(anew) {
    const words = (read(location.hash).query.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const { worry, text, columns, nothing } = this._kind;
    const found = this._rows.filter((row) => words.every((word) => text(row).toLowerCase().includes(word)));
    found.sort((one, other) => worry(other) - worry(one));
    const stamp = JSON.stringify(found);
    // What has the focus, or is read, is not taken away for nothing.
    if (!anew && stamp === this._drawn) return;
    this._drawn = stamp;
    const focused = this._body.contains(document.activeElement)
      ? /** @type {HTMLElement} */ (document.activeElement).dataset.key
      : undefined;
    fill(
      this._body,
      found.slice(0, SHOWN).map((row) =>
        h(
          "tr",
          { class: worry(row) > 0 ? "attention" : null },
          columns.map(([, cell]) => h("td", {}, cell(row, this))),
        ),
      ),
    );
    if (focused)
      /** @type {HTMLElement | null} */ (this._body.querySelector(`[data-key="${CSS.escape(focused)}"]`))?.focus();
    this._table.hidden = !found.length;
    const worrying = found.filter((row) => worry(row) > 0).length;
    const told = [`${found.length.toLocaleString()} of ${this._rows.length.toLocaleString()}`];
    if (worrying) told.push(`${worrying} need${worrying === 1 ? "s" : ""} attention`);
    if (found.length > SHOWN) told.push(`the first ${SHOWN} are shown`);
    write(this._note, this._rows.length ? told.join(", ") : nothing);
  }
}

/** A button in a row, which keeps the focus when the row is drawn again.
 * @param {string} key @param {string} text @param {() => void} act @param {string} [look] */
export function rowButton(key, text, act, look = "") {
  return h("button", { type: "button", class: look || null, "data-key": `${text}:${key}`, onclick: act }, text);
}
