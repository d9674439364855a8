/** Where each agent's cell lies: groups become blocks, blocks stand on shelves. It draws nothing. */

const PITCHES = [26, 22, 19, 16, 14, 12, 10, 9, 8, 7, 6, 5, 4, 3, 2];
const HEADER = 24; // above a block, for its name
const GUTTER = 22; // between blocks
const LEAST_WIDTH = 96; // of a block, so that its name can be read
const FLATNESS = 2.6; // how much wider than high a block likes to be
const BLOCKS = 60; // groups beyond these lie together
const OTHERS = "others";

/** One group of agents. */
export class Block {
  /** @param {string} title @param {string[]} ids in order @param {Set<string>} names */
  constructor(title, ids, names) {
    this.title = title;
    this.ids = ids;
    this._names = names;
    this.x = this.y = this.width = this.height = 0;
    this.columns = 1;
  }

  /** Whether a group lies in this block. @param {string} name */
  holds(name) {
    return this._names.has(name);
  }

  /** @param {number} pitch @param {number} most width @param {number} flatness */
  shape(pitch, most, flatness) {
    const liked = Math.ceil(Math.sqrt(this.ids.length * flatness));
    this.columns = Math.max(1, Math.min(Math.floor(most / pitch), Math.max(liked, Math.ceil(LEAST_WIDTH / pitch))));
    this.width = Math.max(LEAST_WIDTH, Math.min(this.columns, this.ids.length) * pitch);
    this.height = Math.ceil(this.ids.length / this.columns) * pitch;
  }
}

export class Layout {
  /** @param {Block[]} blocks @param {number} pitch @param {number} width @param {number} height */
  constructor(blocks, pitch, width, height) {
    this.blocks = blocks;
    this.pitch = pitch;
    this.width = width;
    this.height = height;
    /** @type {Map<string, Block>} */
    this.blockOf = new Map();
    /** @type {Map<string, number>} */
    this._at = new Map();
    for (const block of blocks) {
      block.ids.forEach((id, i) => {
        this.blockOf.set(id, block);
        this._at.set(id, i);
      });
    }
  }

  /** @param {string} id @returns {{x: number, y: number} | null} */
  placeOf(id) {
    const block = this.blockOf.get(id);
    const i = this._at.get(id);
    if (!block || i === undefined) return null;
    return { x: block.x + (i % block.columns) * this.pitch, y: block.y + Math.floor(i / block.columns) * this.pitch };
  }

  /** Whose cell it is there. @param {number} x @param {number} y @returns {string | null} */
  at(x, y) {
    for (const block of this.blocks) {
      const column = Math.floor((x - block.x) / this.pitch);
      const row = Math.floor((y - block.y) / this.pitch);
      if (column < 0 || row < 0 || column >= block.columns) continue;
      const id = block.ids[row * block.columns + column];
      if (id !== undefined && y < block.y + block.height) return id;
    }
    return null;
  }

  /** The neighbour of a cell; the first one of all if there is none yet.
   * @param {string} id @param {"left" | "right" | "up" | "down"} way @returns {string | null} */
  next(id, way) {
    const block = this.blockOf.get(id);
    const i = this._at.get(id);
    if (!block || i === undefined) return this.blocks[0]?.ids[0] ?? null;
    const step = { left: -1, right: 1, up: -block.columns, down: block.columns }[way];
    const inside = block.ids[i + step];
    if (inside !== undefined) return inside;
    const other = this.blocks[this.blocks.indexOf(block) + (step > 0 ? 1 : -1)];
    return (step > 0 ? other?.ids[0] : other?.ids.at(-1)) ?? id;
  }
}

/**
 * Lay groups out in a width, with cells as large as the height allows.
 * @param {[string, string[]][]} groups @param {number} width @param {number} height
 * @returns {Layout}
 */
export function laidOut(groups, width, height) {
  groups.sort(([one, some], [other, others]) => others.length - some.length || (one < other ? -1 : 1));
  const own = groups.length > BLOCKS ? groups.slice(0, BLOCKS - 1) : groups;
  const blocks = own.map(([name, ids]) => new Block(name, ids.sort(), new Set([name])));
  const rest = groups.slice(own.length);
  if (rest.length) {
    const names = new Set(rest.map(([name]) => name));
    blocks.push(new Block(`${OTHERS} (${names.size})`, rest.flatMap(([, ids]) => ids).sort(), names));
  }
  // Those of no group, and of many small ones, at the end.
  const last = (/** @type {Block} */ { title }) => title.startsWith("(") || title.startsWith(`${OTHERS} (`);
  blocks.sort((one, other) => Number(last(one)) - Number(last(other)) || (one.title < other.title ? -1 : 1));
  let high = 0;
  let fits = PITCHES[0];
  for (const pitch of PITCHES) {
    fits = pitch;
    high = shelved(blocks, pitch, width);
    if (high <= height) break;
  }
  return new Layout(blocks, fits, width, high);
}

/** Put blocks on shelves, one beside the other. @param {Block[]} blocks @param {number} pitch
 * @param {number} width @returns {number} how high it is */
function shelved(blocks, pitch, width) {
  const flatness = blocks.length === 1 ? Infinity : FLATNESS;
  let x = 0;
  let y = HEADER;
  let shelf = 0;
  for (const block of blocks) {
    block.shape(pitch, width, flatness);
    if (x > 0 && x + block.width > width) {
      x = 0;
      y += shelf + HEADER + GUTTER / 2;
      shelf = 0;
    }
    block.x = x;
    block.y = y;
    x += block.width + GUTTER;
    shelf = Math.max(shelf, block.height);
  }
  return Math.ceil(y + shelf + 2);
}
