/** Where the reader is: a view, perhaps a name, and what is asked of it, all in the hash. */

/** @typedef {{view: string, name: string, query: URLSearchParams}} Route */

// The parts of a filter that a link carries from view to view.
export const PARTS = ["state", "dialect", "group", "capability", "q"];

/** Read a hash. @param {string} hash @returns {Route} */
export function read(hash) {
  const [path, asked = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  return { view: view || "overview", name: decoded(rest.join("/")), query: new URLSearchParams(asked) };
}

/** Spell a place as a hash.
 * @param {string} view @param {{name?: string, query?: Record<string, string> | URLSearchParams}} [more] */
export function link(view, { name = "", query = {} } = {}) {
  const asked = new URLSearchParams(query);
  for (const [key, value] of [...asked]) if (!value) asked.delete(key);
  const path = view === "overview" ? "" : view;
  const tail = asked.size ? `?${asked}` : "";
  return `#/${path}${name ? `/${encodeURIComponent(name)}` : ""}${tail}`;
}

/** Go there. @param {string} hash @param {boolean} [quietly] without a step to come back by */
export function go(hash, quietly = false) {
  if (hash === location.hash) return;
  if (quietly) {
    history.replaceState(null, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = hash;
  }
}

/** Alter what is asked of the view; null takes a part away.
 * @param {Record<string, string | null>} parts @param {boolean} [quietly] */
export function ask(parts, quietly = false) {
  const { view, name, query } = read(location.hash);
  for (const [key, value] of Object.entries(parts)) query.set(key, value ?? "");
  go(link(view, { name, query }), quietly);
}

/** Keep of a query what is a filter. @param {URLSearchParams} query @returns {Record<string, string>} */
export function kept(query) {
  return Object.fromEntries(PARTS.map((part) => [part, query.get(part) ?? ""]));
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
