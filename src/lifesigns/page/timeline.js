/** The states of one agent over time, as a band; and how much of each day it was alive. */

import { fill, h, s } from "./element.js";
import { STATES, rankOf } from "./state.js";
import { clock, exact, nowMs, span } from "./time.js";

/** @typedef {{at: string, was: string | null, state: string, reason: string | null, reason_text: string | null}} Passage */

const WIDTH = 1000;
const HEIGHT = 34;
const TICKS = 6;
const DAY_MS = 86_400_000;

/**
 * Split the time into stretches of one state each.
 * @param {Passage[]} changes the oldest first @param {number} from @param {number} to
 * @returns {{state: string, from: number, to: number}[]}
 */
export function stretches(changes, from, to) {
  const found = [];
  for (const [i, { at, state, was }] of changes.entries()) {
    const begun = Date.parse(at);
    if (i === 0 && was && begun > from) found.push({ state: was, from, to: begun });
    const ended = i + 1 < changes.length ? Date.parse(changes[i + 1].at) : to;
    if (ended <= from || begun >= to) continue;
    const last = found.at(-1);
    if (last?.state === state) last.to = Math.min(ended, to);
    else found.push({ state, from: Math.max(begun, from), to: Math.min(ended, to) });
  }
  return found;
}

/** Draw the states since so long. @param {Element} place @param {Passage[]} changes @param {number} lengthMs */
export function drawTimeline(place, changes, lengthMs) {
  const to = nowMs();
  const from = to - lengthMs;
  const found = stretches(changes, from, to);
  const x = (/** @type {number} */ at) => ((at - from) / lengthMs) * WIDTH;
  const bars = found.map(({ state, from: begun, to: ended }) =>
    s(
      "rect",
      {
        class: `s-${STATES[rankOf(state)].name}`,
        x: x(begun).toFixed(2),
        width: Math.max(0.6, x(ended) - x(begun)).toFixed(2),
        y: STATES[rankOf(state)].alive ? 0 : HEIGHT * 0.62,
        height: STATES[rankOf(state)].alive ? HEIGHT : HEIGHT * 0.38,
      },
      s("title", {}, `${state} for ${span(ended - begun)}, since ${exact(begun)}`),
    ),
  );
  const shares = new Map();
  for (const { state, from: begun, to: ended } of found) shares.set(state, (shares.get(state) ?? 0) + ended - begun);
  const told = [...shares].sort(([, one], [, other]) => other - one).map(([state, ms]) => [state, span(ms)]);
  const ticks = Array.from({ length: TICKS + 1 }, (_, i) => from + (i * lengthMs) / TICKS);
  fill(
    place,
    s(
      "svg",
      {
        class: "timeline",
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": `States: ${told.map(([state, length]) => `${state} ${length}`).join(", ") || "nothing is kept"}`,
      },
      bars,
    ),
    h(
      "div",
      { class: "timeline-ticks", "aria-hidden": "true" },
      ticks.map((at) =>
        h(
          "span",
          {},
          lengthMs > DAY_MS
            ? new Date(at).toLocaleDateString(undefined, { month: "short", day: "numeric" })
            : clock(at, false),
        ),
      ),
    ),
    h(
      "p",
      { class: "keys" },
      told.map(([state, length]) =>
        h("span", { class: "key" }, h("i", { class: `s-${state}` }), `${state} `, h("b", {}, length)),
      ),
    ),
  );
}

/** Draw the share of each day. @param {Element} place @param {{date: string, uptime: number}[]} days */
export function drawDays(place, days) {
  const worst = days.filter(({ uptime }) => uptime < 0.999).length;
  fill(
    place,
    h(
      "div",
      { class: "days", role: "img", "aria-label": `Uptime of ${days.length} days, ${worst} of them not whole` },
      days.map(({ date, uptime }) => {
        const bar = h("span", {
          class: uptime > 0.999 ? "whole" : uptime > 0.95 ? "most" : "part",
          title: `${date}: ${percent(uptime)}`,
        });
        bar.style.height = `${Math.max(8, uptime * 100)}%`;
        return bar;
      }),
    ),
  );
}

/** @param {number} share */
export function percent(share) {
  return `${(Math.floor(share * 100_000) / 1000).toFixed(share > 0.999 && share < 1 ? 3 : 1)} %`;
}
