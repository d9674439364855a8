/** Which agents the reader wants to see: the filter that stands in the hash. */

/** @typedef {import("../javascript/mirror.js").Presence} Presence */
/** @typedef {(shown: Presence) => boolean} Judge */

const NOBODY = "(none)";
const SEARCHED = ["id", "name", "status", "group", "dialect"];

/** A judge of agents; null if all are wanted. @param {URLSearchParams} query @returns {Judge | null} */
export function judgeOf(query) {
  /** @type {Judge[]} */
  const judges = [];
  for (const part of ["state", "dialect", "group"]) {
    const wanted = listed(query, part);
    if (wanted.size) judges.push((shown) => wanted.has(shown[part] ?? NOBODY));
  }
  const capabilities = listed(query, "capability");
  if (capabilities.size)
    judges.push(({ capabilities: has }) =>
      has?.length ? has.some((/** @type {string} */ each) => capabilities.has(each)) : capabilities.has(NOBODY),
    );
  const words = (query.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length) judges.push((shown) => words.every((word) => says(shown, word)));
  return judges.length ? (shown) => judges.every((judge) => judge(shown)) : null;
}

/** Read a list of the query. @param {URLSearchParams} query @param {string} part @returns {Set<string>} */
export function listed(query, part) {
  return new Set((query.get(part) ?? "").split(",").filter(Boolean));
}

/** Add a word to a list of the query, or take it away; null for an empty list.
 * @param {URLSearchParams} query @param {string} part @param {string} word */
export function toggled(query, part, word) {
  const words = listed(query, part);
  if (!words.delete(word)) words.add(word);
  return [...words].join(",") || null;
}

/** @param {Presence} shown @param {string} word */
function says(shown, word) {
  if (SEARCHED.some((name) => shown[name]?.toLowerCase().includes(word))) return true;
  return shown.capabilities?.some((/** @type {string} */ each) => each.toLowerCase().includes(word)) ?? false;
}

/** How agents can be put together: what a group is called by. @type {Record<string, (shown: Presence) => string>} */
export const GROUPINGS = {
  dialect: (shown) => shown.dialect ?? NOBODY,
  capability: (shown) => shown.capabilities?.[0] ?? NOBODY,
  group: (shown) => shown.group ?? NOBODY,
  prefix: ({ id }) => /^[A-Za-z0-9]+/.exec(id)?.[0] ?? id,
};
