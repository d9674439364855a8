/** Elements of the page. Whatever is said by agents becomes text here, and never markup. */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, any>} Props attributes; `onclick` and its like are listeners */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Props} [props] @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props, ...children) {
  return /** @type {any} */ (made(document.createElement(tag), props, children));
}

/** Make an element of a picture.
 * @param {string} tag @param {Props} [props] @param {...(Child | Child[])} children
 * @returns {SVGElement} */
export function s(tag, props, ...children) {
  return /** @type {any} */ (made(document.createElementNS(SVG, tag), props, children));
}

/** @param {Element} element @param {Props | undefined} props @param {(Child | Child[])[]} children */
function made(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

/** Put these in place of all that an element has.
 * @param {Element} element @param {...(Child | Child[])} children */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
}

/** @param {(Child | Child[])[]} children @returns {(Node | string)[]} */
function nodes(children) {
  const kept = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  return kept.map((child) => (child instanceof Node ? child : String(child)));
}

/** Write a text only if it is another one: what stands is not laid out again.
 * @param {Node} node @param {string | number} text */
export function write(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Tell a reader of screens something. @param {string} text */
export function speak(text) {
  const place = document.getElementById("spoken");
  if (place) write(place, text);
}

/** A form of the browser's own for one choice among a few.
 * @param {string} label @param {[string, string][]} choices value and text @param {string} chosen
 * @param {(value: string) => void} taken */
export function choice(label, choices, chosen, taken) {
  const select = h(
    "select",
    { onchange: (/** @type {Event} */ event) => taken(/** @type {HTMLSelectElement} */ (event.target).value) },
    choices.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
  return h("label", { class: "choice" }, h("span", {}, label), select);
}
