/** What begins before the rest of the page is there: the line, and the question who is here. */

import { Fleet } from "./fleet.js";
import { guarded, keptKey, open, ticketed } from "./session.js";
import { setClock } from "./time.js";

/** @typedef {{hub: import("../javascript/lifesigns.js").Hub, fleet: Fleet}} Opened */

/** Open the line, and ask. @param {string | null} key @returns {Opened} */
export function begin(key) {
  const hub = open(key);
  hub.addEventListener("connected", (event) => {
    const { time } = /** @type {CustomEvent} */ (event).detail;
    if (time) setClock(time);
  });
  return { hub, fleet: new Fleet(hub) };
}

const key = keptKey();

/** What was begun with the key that was kept; null: nobody is signed in, or comes with a ticket.
 * @type {Opened | null} */
export const opened = !ticketed() && (key !== null || !guarded) ? begin(key) : null;
