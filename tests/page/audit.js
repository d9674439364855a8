// What is wrong with the page for those who read it with ears, keys or weak eyes: a list of sentences.
() => {
  const wrong = [];
  const seen = (element) => element.checkVisibility() && element.getClientRects().length > 0;
  const where = (element) => `<${element.tagName.toLowerCase()} class="${element.getAttribute("class") ?? ""}"> ${(element.textContent ?? "").trim().slice(0, 40)}`;
  const all = [...document.querySelectorAll("*")].filter(seen);

  const named = (element) => {
    const by = element.getAttribute("aria-labelledby");
    if (by) return by.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
    if (element.getAttribute("aria-label")) return element.getAttribute("aria-label");
    if (element.labels?.length) return [...element.labels].map((label) => label.textContent).join(" ").trim();
    return (element.textContent ?? "").trim() || element.getAttribute("title") || "";
  };
  for (const element of all) {
    if (element.matches("a[href], button, input, select, textarea, [role=img], [role=grid], [role=rowgroup][tabindex], dialog, nav, canvas") && !named(element)) wrong.push(`no name: ${where(element)}`);
    if (element.tabIndex > 0) wrong.push(`an order of its own: ${where(element)}`);
    if (element.matches("[onclick]")) wrong.push(`a program in an attribute: ${where(element)}`);
    for (const name of ["aria-labelledby", "aria-describedby", "aria-activedescendant", "for"]) {
      for (const id of (element.getAttribute(name) ?? "").split(" ").filter(Boolean)) if (!document.getElementById(id)) wrong.push(`${name} leads nowhere: ${where(element)}`);
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`two have the id ${id}`);

  const heads = [...document.querySelectorAll("h1, h2, h3")].filter((head) => head.checkVisibility());
  if (heads.filter(({ tagName }) => tagName === "H1").length !== 1) wrong.push(`${heads.filter(({ tagName }) => tagName === "H1").length} main headings`);
  let level = 0;
  for (const head of heads) {
    const own = Number(head.tagName[1]);
    if (own > level + 1) wrong.push(`a level is left out before: ${where(head)}`);
    level = own;
  }
  for (const needed of ["main", "header", "nav"]) if (!document.querySelector(needed)) wrong.push(`there is no ${needed}`);
  if (!document.documentElement.lang) wrong.push("no language");
  if (!document.title) wrong.push("no title");

  const numbers = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const over = ([r, g, b, a = 1], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a)];
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) layers.push(numbers(getComputedStyle(each).backgroundColor));
    return layers.reverse().reduce((below, layer) => (layer.length ? over(layer, below) : below), [255, 255, 255]);
  };
  const contrast = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  for (const element of all) {
    const texts = [...element.childNodes].filter((node) => node.nodeType === 3 && node.textContent.trim());
    if (!texts.length || element.closest("svg, .unseen, .skip, [disabled]")) continue;
    const style = getComputedStyle(element);
    const size = Number.parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const below = ground(element);
    const found = contrast(over(numbers(style.color), below), below);
    if (found < (large ? 3 : 4.5)) wrong.push(`contrast ${found.toFixed(2)}: ${where(element)}`);
  }
  for (const shape of document.querySelectorAll(".glyph")) {
    if (!seen(shape)) continue;
    const below = ground(shape.parentElement);
    const found = contrast(over(numbers(getComputedStyle(shape).color), below), below);
    if (found < 3) wrong.push(`contrast ${found.toFixed(2)} of a shape: ${shape.getAttribute("class")}`);
  }
  return [...new Set(wrong)];
};
