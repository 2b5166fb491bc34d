// @ts-check
// What the reader looks at, kept in the address after `#`: a copied address shows the same to others.

/** @typedef {{ view: string, filter: string, shard: number | null, guild: string, theme: string, range: string, sort: string }} Look */

export const VIEWS = ["state", "latency", "events", "guilds"];
export const RANGES = ["24h", "6h", "1h"];
export const THEMES = ["auto", "dark", "light"];
export const SORTS = ["look", "name", "events", "memory", "lease", "delay"];

/** @type {Look} */
const DEFAULTS = { view: "state", filter: "", shard: null, guild: "", theme: "auto", range: "24h", sort: "look" };

/** Reads the part of an address after `#`. Anything invalid is its default. @param {string} hash @returns {Look} */
export function parse(hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  /** @param {string} name @param {string[]} known @param {string} other */
  const one = (name, known, other) => (known.includes(words.get(name) ?? "") ? words.get(name) ?? other : other);
  const shard = words.get("shard") ?? "";
  const guild = words.get("guild") ?? "";
  return {
    view: one("view", VIEWS, DEFAULTS.view),
    filter: (words.get("filter") ?? "").slice(0, 60),
    shard: /^\d{1,6}$/.test(shard) ? Number(shard) : null,
    guild: /^\d{1,20}$/.test(guild) ? guild : "",
    theme: one("theme", THEMES, DEFAULTS.theme),
    range: one("range", RANGES, DEFAULTS.range),
    sort: one("sort", SORTS, DEFAULTS.sort),
  };
}

/** Writes what differs from the defaults. @param {Look} look */
export function write(look) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(look)) {
    if (value !== /** @type {any} */ (DEFAULTS)[name]) words.set(name, String(value));
  }
  return words.toString();
}

/** The look of this page. It calls `changed` after each change, by the page or by the reader's address bar. */
export class Address {
  /** @param {(look: Look) => void} changed */
  constructor(changed) {
    this.look = parse(location.hash);
    this.changed = changed;
    addEventListener("hashchange", () => {
      this.look = parse(location.hash);
      this.changed(this.look);
    });
  }

  /** @param {Partial<Look>} change */
  set(change) {
    this.look = { ...this.look, ...change };
    const text = write(this.look);
    history.replaceState(null, "", text ? `#${text}` : location.pathname);
    this.changed(this.look);
  }
}
