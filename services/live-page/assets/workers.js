// @ts-check
// The table of workers: those that need a look first, or sorted by a column.

import { byId, keyed, make, setClass, setText } from "./dom.js";
import { UNKNOWN, age, compareNames, counted, delay, grouped, memory, rate } from "./text.js";

/** Rows that are drawn at first. */
const ROWS = 60;

/** A worker that was not heard for so long needs a look. */
const UNHEARD = 3_000;

/** @typedef {ReturnType<import("./fleet.js").Fleet["workers"]>[number]} Record */

/** Sorts records. @param {any[]} records @param {string} sort */
export function sorted(records, sort) {
  const trouble = (/** @type {any} */ worker) => (worker.state === "cut off" ? 0 : worker.state === "draining" ? 1 : worker.ready < worker.shards ? 2 : 3);
  /** @type {Record<string, (worker: any) => number>} */
  const keys = {
    look: trouble,
    name: () => 0,
    events: (worker) => -(worker.events ?? -1),
    memory: (worker) => -worker.mib,
    lease: (worker) => worker.lease,
    delay: (worker) => -(worker.figures?.delay ?? -1),
  };
  const key = keys[sort] ?? trouble;
  return [...records].sort((a, b) => key(a) - key(b) || compareNames(a.name, b.name));
}

/** The table. */
export class Workers {
  /** @param {{ sort: (by: string) => void, choose: (name: string) => void }} parts */
  constructor(parts) {
    this.parts = parts;
    this.all = false;
    for (const button of document.querySelectorAll("#workers [data-sort]")) {
      button.addEventListener("click", () => parts.sort(/** @type {HTMLElement} */ (button).dataset.sort ?? "look"));
    }
    byId("workers-all").addEventListener("click", () => {
      this.all = !this.all;
      this.again?.();
    });
  }

  /** @param {import("./fleet.js").Fleet} fleet @param {string} sort @param {number} now */
  draw(fleet, sort, now) {
    this.again = () => this.draw(fleet, sort, performance.now());
    const records = sorted(fleet.workers(now), sort);
    const shown = this.all ? records : records.slice(0, ROWS);
    setText(byId("worker-count"), records.length > shown.length ? `${shown.length} of ${grouped(records.length)}` : grouped(records.length));
    byId("worker-table").hidden = records.length === 0;
    byId("workers-none").hidden = records.length > 0;
    const more = byId("workers-all");
    more.hidden = records.length <= ROWS;
    setText(more, this.all ? `Show ${ROWS}` : `Show all ${counted(records.length, "worker")}`);
    for (const heading of document.querySelectorAll("#workers th[data-column]")) {
      const isSorted = /** @type {HTMLElement} */ (heading).dataset.column === sort;
      heading.setAttribute("aria-sort", isSorted ? (sort === "name" || sort === "lease" ? "ascending" : "descending") : "none");
    }
    const ttl = fleet.sections.fleet.lease_ttl;
    keyed(byId("worker-rows"), shown, (worker) => worker.name, (worker) => this.row(worker), (row, worker) => fill(row, worker, ttl));
  }

  /** @param {any} worker */
  row(worker) {
    const name = make("button", "link");
    name.type = "button";
    name.title = "show the shards of this worker";
    name.addEventListener("click", () => this.parts.choose(worker.name));
    const cells = ["", "number", "number", "number", "number", "number", "number", "", ""].map((classes) => make("td", classes));
    cells[5].append(make("span", "lease", make("span", "filled")), make("span", "figure"));
    return make("tr", "", make("th", "", name), ...cells);
  }
}

/** @param {any} row @param {any} worker @param {number} ttl */
function fill(row, worker, ttl) {
  const [name, state, ready, guilds, events, mib, lease, late, generation, version] = row.children;
  setText(name.firstChild, worker.name);
  name.firstChild.title = `${worker.url}${worker.address ? `, ${worker.address}` : ""}: show its shards`;
  setText(state, worker.state);
  setClass(state, { "cut off": "bad", draining: "moving", connected: "good" }[/** @type {string} */ (worker.state)] ?? "");
  setText(ready, `${grouped(worker.ready)}/${grouped(worker.shards)}`);
  setClass(ready, worker.ready === worker.shards ? "number" : "number changing");
  setText(guilds, grouped(worker.guilds));
  setText(events, rate(worker.events));
  setText(mib, memory(worker.mib));
  const [track, figure] = lease.children;
  const share = ttl ? Math.min(1, worker.lease / ttl) : 0;
  const late_ = worker.heard >= UNHEARD || worker.state === "cut off";
  track.firstChild.style.width = `${Math.round(share * 100)}%`;
  setClass(track.firstChild, late_ ? "filled bad" : "filled");
  setText(figure, ttl ? age(worker.lease) : UNKNOWN);
  setClass(figure, late_ ? "figure bad" : "figure");
  lease.title = `heard ${age(worker.heard)} ago`;
  const known = worker.figures?.delay;
  setText(late, known === null || known === undefined ? UNKNOWN : delay(known));
  setText(generation, worker.generation || UNKNOWN);
  setText(version, worker.version || UNKNOWN);
}
