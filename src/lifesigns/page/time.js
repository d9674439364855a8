/** Times by the hub's clock: relative for a glance, exact on asking. */

import { h, write } from "./element.js";

let ahead_ms = 0;

/** Set the clock by the time that a hub has just told. @param {string} told */
export function setClock(told) {
  ahead_ms = Date.parse(told) - Date.now();
}

/** The hub's time, in ms. */
export function nowMs() {
  return Date.now() + ahead_ms;
}

/** Spell a span. @param {number} ms @returns {string} */
export function span(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** @param {number} ms */
function relative(ms) {
  const away = nowMs() - ms;
  if (Math.abs(away) < 1000) return "now";
  return away > 0 ? `${whole(away)} ago` : `in ${whole(-away)}`;
}

/** @param {number} ms */
function whole(ms) {
  return ms < 9950 ? `${Math.round(ms / 1000)} s` : span(ms);
}

/** Spell a time exactly, as it is here. @param {number} ms */
export function exact(ms) {
  const at = new Date(ms);
  const day = at.toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" });
  return `${day}, ${clock(ms)}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** Spell the time of day. @param {number} ms @param {boolean} [seconds] */
export function clock(ms, seconds = true) {
  return new Date(ms).toLocaleTimeString(undefined, {
    hour: "2-digit",
    minute: "2-digit",
    second: seconds ? "2-digit" : undefined,
    hourCycle: "h23",
  });
}

/** Show a time; it stays true by itself. @param {string | number | null | undefined} told */
export function when(told) {
  if (told === null || told === undefined) return h("span", { class: "quiet" }, "—");
  const ms = typeof told === "number" ? told : Date.parse(told);
  return h("time", { datetime: new Date(ms).toISOString(), title: exact(ms) }, relative(ms));
}

setInterval(() => {
  for (const shown of document.querySelectorAll("time[datetime]")) {
    write(shown, relative(Date.parse(shown.getAttribute("datetime") ?? "")));
  }
}, 1000);
