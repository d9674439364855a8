/** Who reads: signs in, keeps the key as long as it was asked to, and holds the line to the hub. */

import { Hub, login } from "/lifesigns.js";

const KEY = "lifesigns.key";
const PROJECT = "lifesigns.project";
const THEME = "lifesigns.theme";

/** What a browser remembers; one that may not answers that it remembers nothing.
 * @type {{browser: () => Storage, tab: () => Storage}} */
const STORES = { browser: () => localStorage, tab: () => sessionStorage };

/** @param {"browser" | "tab"} where @param {(store: Storage) => any} use */
function remembered(where, use) {
  try {
    return use(STORES[where]());
  } catch {
    return null;
  }
}

/** Whether this hub asks for keys. */
export const guarded = document.documentElement.dataset.auth !== "off";

/** The key that was kept: in this browser if that was asked for, in this tab after a ticket.
 * @returns {string | null} */
export function keptKey() {
  return remembered("browser", (store) => store.getItem(KEY)) ?? remembered("tab", (store) => store.getItem(KEY));
}

/** Keep a key. @param {string} key @param {"browser" | "tab" | "nowhere"} where */
export function keepKey(key, where) {
  forgetKey();
  if (where !== "nowhere") remembered(where, (store) => store.setItem(KEY, key));
}

export function forgetKey() {
  remembered("browser", (store) => store.removeItem(KEY));
  remembered("tab", (store) => store.removeItem(KEY));
  remembered("tab", (store) => store.removeItem(PROJECT));
}

const TICKET = /[#&?]ticket=([^&]+)/;

/** Whether a login ticket stands in the address. */
export function ticketed() {
  return TICKET.test(location.hash);
}

/** Take a login ticket out of the address, so that it stands in no history.
 * @returns {string | null} */
export function ticketOfAddress() {
  const found = TICKET.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, "", `${location.pathname}#/`);
  return decodeURIComponent(found[1]);
}

/** Change a ticket for a key, which this tab keeps: a ticket is good once, and a page is reloaded.
 * @param {string} ticket @returns {Promise<string>} */
export async function redeem(ticket) {
  const { key } = await login(ticket);
  keepKey(key, "tab");
  return key;
}

/** The project that the root key looks at in this tab; "" for its own. @returns {string} */
export function chosenProject() {
  return remembered("tab", (store) => store.getItem(PROJECT)) ?? "";
}

/** @param {string} project */
export function chooseProject(project) {
  remembered("tab", (store) => store.setItem(PROJECT, project));
}

/** Light or dark, if the reader chose. @returns {string | null} */
export function chosenTheme() {
  return remembered("browser", (store) => store.getItem(THEME));
}

/** @param {string} theme */
export function chooseTheme(theme) {
  remembered("browser", (store) => store.setItem(THEME, theme));
}

/** Open the line. @param {string | null} key */
export function open(key) {
  return new Hub({ url: location.origin, key: key ?? undefined, project: chosenProject() || undefined });
}
