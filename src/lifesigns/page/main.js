/** The page: signs in, opens the line, and shows the view that the address names. */

import { Agent } from "./agent.js";
import { Banners } from "./banner.js";
import { Capacity } from "./capacity.js";
import { choice, fill, h, write } from "./element.js";
import { Jobs } from "./job.js";
import { Keys } from "./key.js";
import { begin, opened } from "./opening.js";
import { Overview } from "./overview.js";
import { kept, link, read } from "./route.js";
import { Schedules } from "./schedule.js";
import {
  chooseProject,
  chooseTheme,
  chosenProject,
  chosenTheme,
  forgetKey,
  guarded,
  keptKey,
  redeem,
  ticketOfAddress,
} from "./session.js";
import { signIn } from "./signin.js";
import { URGENT } from "./state.js";
import { Table } from "./table.js";
import { Webhooks } from "./webhook.js";

/**
 * @typedef {object} View
 * @property {string} title
 * @property {HTMLElement} root
 * @property {() => void} end
 * @property {() => void} [route] what is asked of it altered; absent: it is made anew
 * @property {() => void} [recolour]
 * @property {() => void} [connected] there is a line, for the first time or anew
 */

/** @type {Record<string, [string, new (page: Page) => View]>} in the order of the menu */
const VIEWS = {
  overview: ["Overview", Overview],
  table: ["Table", Table],
  agent: ["", Agent],
  capacity: ["Capacity", Capacity],
  jobs: ["Jobs", Jobs],
  schedules: ["Schedules", Schedules],
  webhooks: ["Webhooks", Webhooks],
  keys: ["Keys", Keys],
};

const LATER_MS = 3_000;

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const nav = /** @type {HTMLElement} */ (document.getElementById("nav"));
const tools = /** @type {HTMLElement} */ (document.getElementById("tools"));
const banners = /** @type {HTMLElement} */ (document.getElementById("banners"));
const dark = matchMedia("(prefers-color-scheme: dark)");

/** What all views share, from sign-in to sign-out. */
export class Page {
  /** @param {string | null} key @param {import("./opening.js").Opened} [line] that was begun with it */
  constructor(key, { hub, fleet } = begin(key)) {
    this.hub = hub;
    this.fleet = fleet;
    this._line = h("span", { class: "wire", title: "The line to the hub" }, "connecting");
    hub.addEventListener("connected", (event) => this._connected(/** @type {CustomEvent} */ (event).detail));
    this.hub.addEventListener("disconnected", () => this._mark("off", "reconnecting", "The line broke"));
    this.hub.closed.then(({ code, reason }) => this._closed(code, reason));
    this._altered = () => this._entitle();
    fleet.addEventListener("altered", this._altered);
    fleet.addEventListener("refused", (event) => {
      if (/** @type {CustomEvent} */ (event).detail.code === "forbidden") this._closed(4003, "");
    });
    this.banners = new Banners(this.hub, this.fleet, banners);
    /** @type {View | null} */
    this._view = null;
    this._at = "";
    this._ended = false;
    this._projects = h("span");
    this._key = key;
    fill(
      tools,
      this._projects,
      this._line,
      h("button", { type: "button", onclick: () => this._switch(), "aria-label": "Light or dark" }, "◐"),
      guarded && h("button", { type: "button", onclick: () => this._leave() }, "Sign out"),
    );
    this._route = () => this.show();
    addEventListener("hashchange", this._route);
    this._recolour = () => this._view?.recolour?.();
    dark.addEventListener("change", this._recolour);
    this.show();
    if (hub.welcome) this._connected(hub.welcome);
  }

  /** @param {Record<string, any>} welcome */
  _connected({ node }) {
    this._mark(
      "on",
      node ? "live" : "live, by event stream",
      node ? `Connected to hub ${node}` : "No WebSocket passes here",
    );
    this._view?.connected?.();
    this._offer();
  }

  /** Call the REST API; null, and nothing said, while the hub cannot be asked.
   * @param {"GET" | "POST" | "PUT" | "PATCH" | "DELETE"} method @param {string} path @param {any} [body] */
  async ask(method, path, body) {
    if (!this.hub.connected) return null;
    try {
      return await this.hub.call(method, path, body);
    } catch (error) {
      if (/** @type {any} */ (error).code !== "unavailable") throw error;
      return null;
    }
  }

  /** Show the view that the address names. */
  show() {
    const { view, name, query } = read(location.hash);
    const [title, Made] = Object.hasOwn(VIEWS, view) ? VIEWS[view] : VIEWS.overview;
    const at = `${view}/${name}`;
    fill(
      nav,
      Object.entries(VIEWS)
        .filter(([, [text]]) => text)
        .map(([each, [text]]) =>
          h("a", { href: link(each, { query: kept(query) }), "aria-current": each === view ? "page" : null }, text),
        ),
    );
    if (at === this._at && this._view?.route) return this._view.route();
    this._view?.end();
    this._view = new Made(this);
    const moved = this._at !== "";
    this._at = at;
    this._title = name || title;
    this._entitle();
    fill(main, this._view.root);
    if (moved) {
      scrollTo(0, 0);
      main.focus({ preventScroll: true });
    }
  }

  /** Offer the projects, if there is more than one, to whoever may look at all. */
  async _offer() {
    if (this.hub.scope !== "root") return;
    const told = await this.ask("GET", "/v1/projects").catch(() => null); // a store that is late, perhaps
    if (!told && !this._ended) return void setTimeout(() => this._offer(), LATER_MS);
    const names = (told?.projects ?? []).map((/** @type {{name: string}} */ { name }) => name).sort();
    if (names.length < 2) return;
    const chosen = chosenProject() || "default";
    fill(
      this._projects,
      choice(
        "Project",
        names.map((/** @type {string} */ name) => [name, name]),
        chosen,
        (name) => this._move(name),
      ),
    );
  }

  /** Look at another project. @param {string} name */
  _move(name) {
    chooseProject(name === "default" ? "" : name);
    this.hub.close();
    this._stop();
    location.hash = "#/";
    new Page(this._key);
  }

  /** Name the tab, and how many need attention: it is seen from other tabs, too. */
  _entitle() {
    const wrong = URGENT.reduce((sum, state) => sum + this.fleet.count(state), 0);
    const title = `${wrong ? `(${wrong}) ` : ""}${this._title} · Lifesigns`;
    if (title !== document.title) document.title = title;
  }

  /** @param {string} look @param {string} text @param {string} title */
  _mark(look, text, title) {
    this._line.className = `wire wire-${look}`;
    this._line.title = title;
    write(this._line, text);
  }

  _switch() {
    const root = document.documentElement;
    const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    chooseTheme(root.dataset.theme);
    this._recolour();
  }

  _leave() {
    forgetKey();
    this.hub.close();
    this._end("");
  }

  /** @param {number} code @param {string} reason */
  _closed(code, reason) {
    if (code === 1000 || this._ended) return;
    forgetKey();
    this.hub.close();
    this._end(
      code === 4010
        ? "This key was revoked."
        : code === 4003
          ? "This key may not watch."
          : code === 4001
            ? "The hub does not know this key, or not any more."
            : `The hub has ended the line: ${reason || code}.`,
    );
  }

  /** @param {string} why */
  _end(why) {
    if (this._ended) return;
    this._stop();
    enter(why);
  }

  _stop() {
    this._ended = true;
    this.fleet.removeEventListener("altered", this._altered);
    removeEventListener("hashchange", this._route);
    dark.removeEventListener("change", this._recolour);
    this._view?.end();
    this.fleet.end();
    this.banners.end();
  }
}

/** Stand at the door. @param {string} why */
function enter(why) {
  fill(nav);
  fill(tools);
  document.title = "Lifesigns";
  fill(
    main,
    signIn(why, (key) => new Page(key)),
  );
}

async function enterOrShow() {
  const theme = chosenTheme();
  if (theme) document.documentElement.dataset.theme = theme;
  const ticket = ticketOfAddress();
  if (ticket) {
    try {
      return new Page(await redeem(ticket));
    } catch (error) {
      return enter(`The ticket in the address is not good: ${/** @type {Error} */ (error).message}`);
    }
  }
  return opened ? new Page(keptKey(), opened) : enter("");
}

enterOrShow();
