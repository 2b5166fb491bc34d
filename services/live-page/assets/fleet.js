// @ts-check
// The model of the page: the last data of the fleet, and what follows from it. Pure.

/** States in the order of the data, with the letters of `altergolden status --watch`. */
export const STATES = [
  { name: "unassigned", letter: "-", kind: "bad", severity: 6 },
  { name: "queued", letter: "q", kind: "changing", severity: 3 },
  { name: "identifying", letter: "i", kind: "changing", severity: 2 },
  { name: "resuming", letter: "r", kind: "changing", severity: 1 },
  { name: "ready", letter: "■", kind: "good", severity: 0 },
  { name: "moving", letter: "m", kind: "moving", severity: 1 },
  { name: "silent", letter: "s", kind: "bad", severity: 5 },
  { name: "reconnecting", letter: "c", kind: "bad", severity: 4 },
  { name: "stopped", letter: "x", kind: "bad", severity: 5 },
  { name: "failed", letter: "F", kind: "bad", severity: 8 },
];
export const READY = 4;

const COLUMNS = ["number", "status", "worker", "guilds", "latency", "rate"];

/** Data that is older counts as stale. The server sends each second. */
export const STALE_AFTER = 5_000;

/** Discord's limit of guilds on one shard. */
export const MOST_GUILDS = 2_500;

/** The fleet as it was sent last. */
export class Fleet {
  constructor() {
    /** @type {any} */
    this.sections = {
      fleet: { acting: false, term: "0", version: "", total: 0, generation: "", lease_ttl: 0 },
      workers: [],
      load: { state: [], heard: [], mib: [] },
      figures: [],
      identify: { total: 0, remaining: 0, reserve: 0, resets_in: 0, waiting: 0, at_once: 0, last_turn_in: null },
      problems: { count: 0, shown: [] },
      plan: null,
      unready: [],
    };
    /** @type {Record<string, number[]>} */
    this.columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
    /** The time here when the data came; null before the first. @type {number | null} */
    this.received = null;
    this.ageThen = 0;
    this.serverThen = 0;
    /** The sequence of the last frame. */
    this.sequence = 0;
    /** Names of the sections that the last message changed. @type {Set<string>} */
    this.news = new Set();
  }

  /**
   * Takes a message. Returns false when it does not continue what is known: then a full one is needed.
   * @param {string} kind `full` or `changes` @param {any} message @param {number} now the time here, in milliseconds
   */
  apply(kind, message, now) {
    const isFull = kind === "full";
    if (!isFull && message.seq !== this.sequence + 1) return false;
    this.sequence = message.seq;
    this.news = new Set();
    for (const name of Object.keys(this.sections)) {
      if (name in message) {
        this.sections[name] = message[name];
        this.news.add(name);
      }
    }
    for (const name of COLUMNS) {
      const all = message.all?.[name];
      if (all) this.columns[name] = all;
      else if (isFull) this.columns[name] = [];
      const places = message.set?.[name];
      for (let at = 0; places && at + 1 < places.length; at += 2) this.columns[name][places[at]] = places[at + 1];
      if (all || places) this.news.add(name);
    }
    this.received = now;
    this.ageThen = message.age;
    this.serverThen = message.now;
    return true;
  }

  get count() {
    return this.columns.status.length;
  }

  /** How old the data is; null before the first. @param {number} now */
  age(now) {
    return this.received === null ? null : this.ageThen + Math.max(0, now - this.received);
  }

  /** The server's clock. @param {number} now */
  serverNow(now) {
    return this.serverThen + Math.max(0, now - (this.received ?? now));
  }

  /** The number of the shard at a place. @param {number} place */
  number(place) {
    return this.columns.number.length ? this.columns.number[place] : place;
  }

  /** The place of the shard with a number; -1 without one. @param {number} number */
  place(number) {
    if (this.columns.number.length) return this.columns.number.indexOf(number);
    return number < this.count ? number : -1;
  }

  /** The name of a shard's worker; empty without one. @param {number} place */
  workerOf(place) {
    return this.sections.workers[this.columns.worker[place]]?.[0] ?? "";
  }

  /** Shards in each state. */
  counts() {
    const counts = STATES.map(() => 0);
    for (const status of this.columns.status) if (status >= 0) counts[status] += 1;
    return counts;
  }

  /** All guilds, and events a second where they are known. */
  totals() {
    const { guilds, rate } = this.columns;
    let [sum, events, known] = [0, 0, false];
    for (let place = 0; place < guilds.length; place++) {
      sum += guilds[place];
      if (rate[place] >= 0) {
        events += rate[place] / 10;
        known = true;
      }
    }
    return { guilds: sum, events: known ? events : null };
  }

  /** A record of each worker, with the sums over its shards. @param {number} now */
  workers(now) {
    const { workers, load, figures, fleet } = this.sections;
    const since = Math.max(0, now - (this.received ?? now));
    const records = workers.map((/** @type {any[]} */ worker, /** @type {number} */ at) => {
      const heard = (load.heard[at] ?? 0) + since;
      return {
        name: worker[0], version: worker[1], generation: worker[2], url: worker[3], address: worker[4], capacity: worker[5],
        state: ["cut off", "draining", "connected"][load.state[at] ?? 0],
        heard, lease: Math.max(0, fleet.lease_ttl - heard), mib: load.mib[at] ?? 0,
        figures: readFigures(figures[at]),
        ready: 0, shards: 0, guilds: 0, events: /** @type {number | null} */ (null),
      };
    });
    const { worker, status, guilds, rate } = this.columns;
    for (let place = 0; place < worker.length; place++) {
      const record = records[worker[place]];
      if (!record) continue;
      record.shards += 1;
      record.guilds += guilds[place];
      if (status[place] === READY) record.ready += 1;
      if (rate[place] >= 0) record.events = (record.events ?? 0) + rate[place] / 10;
    }
    return records;
  }
}

/** @param {any[] | null | undefined} figures */
function readFigures(figures) {
  if (!figures) return null;
  const [gaps, dropped, replayed, delay, restWaiting, restInvalid, restBlocked, relays, relayWaiting, relayFailures] = figures;
  return { gaps, dropped, replayed, delay, restWaiting, restInvalid, restBlocked, relays, relayWaiting, relayFailures };
}

/**
 * Reads a filter: numbers (`7`), ranges (`0-63`), starts of states (`resum`), and parts of workers' names. `!` before a state or a
 * name means all others, and `worker:` before a word that it is a name. A shard passes when it matches a number (if there are any)
 * and each of the other words. Returns null when every shard passes.
 * @param {string} text @returns {null | ((number: number, status: number, worker: string) => boolean)}
 */
export function parseFilter(text) {
  /** @type {[number, number][]} */
  const ranges = [];
  /** @type {{ wanted: boolean, state: string | null, name: string }[]} */
  const words = [];
  for (let word of text.trim().toLowerCase().split(/[ ,]+/)) {
    const range = /^(\d+)(?:-(\d+))?$/.exec(word);
    if (range) {
      ranges.push([Number(range[1]), Number(range[2] ?? range[1])]);
      continue;
    }
    const wanted = !word.startsWith("!");
    word = word.replace(/^!/, "");
    if (!word) continue;
    const isName = word.startsWith("worker:");
    const name = word.replace(/^worker:/, "");
    const isState = !isName && name.length >= 3 && STATES.some((state) => state.name.startsWith(name));
    words.push({ wanted, state: isState ? name : null, name });
  }
  if (!ranges.length && !words.length) return null;
  return (number, status, worker) =>
    (!ranges.length || ranges.some(([first, last]) => first <= number && number <= last)) &&
    words.every(({ wanted, state, name }) =>
      wanted === (state === null ? worker.toLowerCase().includes(name) : (STATES[status]?.name ?? "").startsWith(state)));
}
