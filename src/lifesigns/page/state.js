/** The nine states as the page shows them: an order, a shape and a colour for each. */

import { h, s } from "./element.js";

/**
 * @typedef {object} State
 * @property {string} name
 * @property {string} path its shape, in a box of 16
 * @property {string} means
 * @property {boolean} urgent somebody should look
 * @property {boolean} alive
 */

// What needs attention comes first; the shapes are told apart without their colours, and those
// of what needs attention have corners.
/** @type {State[]} */
export const STATES = [
  { name: "error", path: "M8 1 15.5 14.5H.5Z", means: "says that it needs attention", urgent: true, alive: true },
  {
    name: "stalled",
    path: "M2 2h4.5v12H2ZM9.5 2H14v12H9.5Z",
    means: "works, and gets nowhere",
    urgent: true,
    alive: true,
  },
  {
    name: "suspect",
    path: "M8 .8a7.2 7.2 0 1 1 0 14.4A7.2 7.2 0 0 1 8 .8ZM8 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z",
    means: "its line broke, its lease still runs",
    urgent: true,
    alive: true,
  },
  { name: "degraded", path: "M8 .5 15.5 8 8 15.5.5 8Z", means: "works with difficulty", urgent: true, alive: true },
  { name: "draining", path: "M.5 2h15L8 14.5Z", means: "takes no new work", urgent: false, alive: true },
  {
    name: "busy",
    path: "M3 1.5h10A1.5 1.5 0 0 1 14.5 3v10a1.5 1.5 0 0 1-1.5 1.5H3A1.5 1.5 0 0 1 1.5 13V3A1.5 1.5 0 0 1 3 1.5Z",
    means: "works",
    urgent: false,
    alive: true,
  },
  {
    name: "available",
    path: "M8 1.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13Z",
    means: "takes work now",
    urgent: false,
    alive: true,
  },
  {
    name: "sleeping",
    path: "M10.5 1.6A6.6 6.6 0 1 0 14.6 10 5.6 5.6 0 0 1 10.5 1.6Z",
    means: "waits for its next run",
    urgent: false,
    alive: false,
  },
  {
    name: "offline",
    path: "M3.2 1.4 8 6.2l4.8-4.8 1.8 1.8L9.8 8l4.8 4.8-1.8 1.8L8 9.8l-4.8 4.8-1.8-1.8L6.2 8 1.4 3.2Z",
    means: "is not there",
    urgent: false,
    alive: false,
  },
];

/** Where a state stands in the order; a word of a newer hub stands last.
 * @type {Map<string, number>} */
export const RANK = new Map(STATES.map(({ name }, rank) => [name, rank]));

export const URGENT = STATES.filter(({ urgent }) => urgent).map(({ name }) => name);

/** @param {string} name */
export function rankOf(name) {
  return RANK.get(name) ?? STATES.length - 1;
}

/** Draw the shape of a state. @param {string} name @param {number} [size] */
export function glyph(name, size = 12) {
  const { path } = STATES[rankOf(name)];
  return s(
    "svg",
    {
      class: `glyph s-${STATES[rankOf(name)].name}`,
      viewBox: "0 0 16 16",
      width: size,
      height: size,
      "aria-hidden": "true",
    },
    s("path", { d: path, "fill-rule": "evenodd" }),
  );
}

/** Show a state: its shape and its word. @param {string} name */
export function badge(name) {
  return h("span", { class: "badge" }, glyph(name), name);
}

/** The colours of the states as they are now, for what is drawn and not styled.
 * @returns {string[]} by rank */
export function colours() {
  const probe = h("span", { class: "unseen" });
  document.body.append(probe);
  const found = STATES.map(({ name }) => {
    probe.className = `unseen s-${name}`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return found;
}
