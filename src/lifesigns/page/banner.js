/** What the reader must know before believing the page: one line for each such thing. */

import { fill, h } from "./element.js";
import { clock, nowMs, when } from "./time.js";

/** @typedef {import("../javascript/lifesigns.js").Hub} Hub */
/** @typedef {import("./fleet.js").Fleet} Fleet */

export class Banners {
  /** @param {Hub} hub @param {Fleet} fleet @param {Element} place */
  constructor(hub, fleet, place) {
    this._hub = hub;
    this._fleet = fleet;
    this._place = place;
    this._shown = "";
    this._lostAt = /** @type {number | null} */ (null);
    this._away = false;
    this._heldUntil = /** @type {number | null} */ (null);
    hub.addEventListener("connected", () => {
      this._lostAt = null;
      this._away = false;
      this.show();
    });
    hub.addEventListener("disconnected", () => {
      this._lostAt = nowMs();
      this.show();
    });
    hub.addEventListener("notice", (event) => this._hear(/** @type {CustomEvent} */ (event).detail));
    fleet.addEventListener("altered", () => this.show());
    this._timer = setInterval(() => this.show(), 1000);
  }

  end() {
    clearInterval(this._timer);
    fill(this._place);
  }

  /** Take what the hub counts of itself. @param {Record<string, any>} stats */
  take({ held_until }) {
    this._heldUntil = held_until ? Date.parse(held_until) : null;
    this.show();
  }

  /** @param {Record<string, any>} notice */
  _hear({ code, held_until }) {
    if (code === "held") this._heldUntil = Date.parse(held_until);
    else this._away = code === "store_away";
    this.show();
  }

  show() {
    /** @type {[string, string, number | null][]} */
    const told = [];
    if (this._lostAt !== null) told.push(["lost", "Reconnecting. What you see is as it was", this._lostAt]);
    if (this._away)
      told.push([
        "away",
        "The hub has lost its store: what you see may be old. Nobody is declared dead meanwhile.",
        null,
      ]);
    if (this._heldUntil !== null && this._heldUntil > nowMs()) {
      told.push([
        "held",
        `Expiry is paused until ${clock(this._heldUntil)}: whose lease runs out meanwhile is still shown as alive.`,
        null,
      ]);
    }
    if (this._fleet.behind)
      told.push(["behind", "This page is behind: it shows fewer, newer changes until it has caught up.", null]);
    const shown = JSON.stringify(told);
    if (shown === this._shown) return;
    this._shown = shown;
    fill(
      this._place,
      told.map(([kind, text, since]) =>
        h(
          "p",
          { class: `banner b-${kind}` },
          text,
          since === null ? "" : " ",
          since === null ? "" : h("span", { "aria-live": "off" }, when(since)),
          since === null ? "" : ".",
        ),
      ),
    );
  }
}
