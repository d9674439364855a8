/** Who reads: signs in, keeps the key as long as it was asked to, and holds the line to the hub. */

import { Hub, login } from "/lifesigns.js";

const KEY = "lifesigns.key";
const PROJECT = "lifesigns.project";

/** Whether this hub asks for keys. */
export const guarded = document.documentElement.dataset.auth !== "off";

/** The key that was kept: in this browser if that was asked for, in this tab after a ticket.
 * @returns {string | null} */
export function keptKey() {
  return localStorage.getItem(KEY) ?? sessionStorage.getItem(KEY);
}

/** Keep a key. @param {string} key @param {"browser" | "tab" | "nowhere"} where */
export function keepKey(key, where) {
  forgetKey();
  if (where === "browser") localStorage.setItem(KEY, key);
  if (where === "tab") sessionStorage.setItem(KEY, key);
}

export function forgetKey() {
  localStorage.removeItem(KEY);
  sessionStorage.removeItem(KEY);
  sessionStorage.removeItem(PROJECT);
}

/** Take a login ticket out of the address, so that it stands in no history.
 * @returns {string | null} */
export function ticketOfAddress() {
  const found = /[#&?]ticket=([^&]+)/.exec(location.hash);
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

export const chosenProject = () => sessionStorage.getItem(PROJECT) ?? "";

/** @param {string} project */
export function chooseProject(project) {
  sessionStorage.setItem(PROJECT, project);
}

/** Open the line. @param {string | null} key */
export function open(key) {
  return new Hub({ url: location.origin, key: key ?? undefined, project: chosenProject() || undefined });
}
