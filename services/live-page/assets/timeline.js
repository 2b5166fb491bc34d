// @ts-check
// The last day: a lane for each kind of event on a canvas, and the entries as a list.

import { readPalette } from "./colours.js";
import { byId, keyed, make, setClass, setText } from "./dom.js";
import { size } from "./grid.js";
import { clock, grouped, minute } from "./text.js";

const HOUR = 3_600_000;

/** Lanes with the kinds of entries that they show; a kind is in one lane. */
export const LANES = [
  { name: "gaps", kinds: ["gap", "entries_lost"], look: "bad" },
  { name: "problems", kinds: ["problem_raised", "problem_cleared"], look: "changing" },
  { name: "workers", kinds: ["worker_joined", "worker_draining", "worker_left", "worker_lost", "worker_readmitted", "exit_reported"], look: "good" },
  { name: "shards", kinds: ["shards_assigned", "shards_moved", "shards_identified", "shards_resumed", "total_settled"], look: "good" },
  { name: "plans", kinds: ["plan_changed", "operator_call", "generation_adopted"], look: "moving" },
  { name: "coordinator", kinds: ["term_began", "term_ended"], look: "faint" },
];

const BAD = new Set(["gap", "entries_lost", "worker_lost", "problem_raised"]);

/** Height of a lane. */
const LANE = 22;

/** Entries in the list. */
const ROWS = 40;

/** The lane of a kind; kinds of a newer server are about the coordinator. @param {string} kind */
export function laneOf(kind) {
  const at = LANES.findIndex((lane) => lane.kinds.includes(kind));
  return at < 0 ? LANES.length - 1 : at;
}

/** Times for labels between two times: whole hours, or parts of them. @param {number} from @param {number} until */
export function marks(from, until) {
  const step = [HOUR / 6, HOUR, 4 * HOUR].find((step) => (until - from) / step <= 7) ?? 4 * HOUR;
  // Whole hours where the reader is.
  const offset = new Date(until).getTimezoneOffset() * 60_000;
  const times = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= until; at += step) times.push(at);
  return times;
}

/** The timeline. */
export class Timeline {
  /** @param {{ range: (range: string) => void }} parts */
  constructor(parts) {
    /** @type {any} */
    this.history = null;
    /** The lanes that the list shows; all when empty. @type {Set<number>} */
    this.lanes = new Set();
    this.from = 0;
    this.until = 0;
    this.canvas = /** @type {HTMLCanvasElement} */ (byId("timeline-canvas"));
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.point(null));
    for (const button of document.querySelectorAll("#timeline [data-range]")) {
      button.addEventListener("click", () => parts.range(/** @type {HTMLElement} */ (button).dataset.range ?? "24h"));
    }
    for (const [at, lane] of LANES.entries()) {
      const button = make("button", "lane", lane.name);
      button.type = "button";
      button.title = `list only ${lane.name}`;
      button.addEventListener("click", () => {
        if (!this.lanes.delete(at)) this.lanes.add(at);
        this.again?.();
      });
      byId("timeline-lanes").append(button);
    }
  }

  /** @param {string} range @param {number} serverNow */
  draw(range, serverNow) {
    this.again = () => this.draw(range, serverNow);
    this.until = serverNow;
    this.from = serverNow - ({ "1h": 1, "6h": 6 }[range] ?? 24) * HOUR;
    for (const button of document.querySelectorAll("#timeline [data-range]")) {
      button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.range === range));
    }
    for (const [at, button] of [...byId("timeline-lanes").children].entries()) {
      button.setAttribute("aria-pressed", String(this.lanes.has(at)));
    }
    this.entries = (this.history?.entries ?? []).filter((/** @type {any} */ entry) => entry.until >= this.from);
    this.paint();
    this.list();
  }

  /** The place of a time on the canvas. @param {number} at @param {number} width */
  x(at, width) {
    return ((at - this.from) / (this.until - this.from)) * width;
  }

  paint() {
    const width = Math.floor(/** @type {HTMLElement} */ (this.canvas.parentElement).clientWidth);
    const height = LANES.length * LANE + 20;
    const context = size(this.canvas, width, height);
    const palette = readPalette();
    context.clearRect(0, 0, width, height);
    context.font = `11px ${palette.font}`;
    context.textBaseline = "top";
    context.fillStyle = palette.kinds.none;
    for (let lane = 0; lane < LANES.length; lane++) context.fillRect(0, lane * LANE + LANE / 2, width, 1);
    let free = 0;
    for (const at of marks(this.from, this.until)) {
      const x = Math.round(this.x(at, width));
      context.fillStyle = palette.kinds.none;
      context.fillRect(x, 0, 1, LANES.length * LANE);
      context.fillStyle = palette.faint;
      context.textAlign = x < 20 ? "left" : x > width - 20 ? "right" : "center";
      const begins = x > width - 20 ? x - 34 : x - 17;
      if (begins < free) continue;
      free = begins + 40;
      context.fillText(minute(at), x, LANES.length * LANE + 6);
    }
    // Oldest first, so that what needs a look and came last is on top.
    const entries = [...(this.entries ?? [])].reverse();
    entries.sort((a, b) => Number(BAD.has(a.kind)) - Number(BAD.has(b.kind)));
    for (const entry of entries) {
      const lane = laneOf(entry.kind);
      const x = this.x(Math.max(entry.at, this.from), width);
      const end = this.x(entry.until, width);
      const look = BAD.has(entry.kind) ? (entry.kind === "problem_raised" ? "changing" : "bad") : entry.kind === "problem_cleared" ? "good" : LANES[lane].look;
      context.fillStyle = look === "faint" ? palette.faint : palette.kinds[look];
      const tall = BAD.has(entry.kind) ? LANE - 6 : LANE - 12;
      context.fillRect(Math.min(x, width - 3), lane * LANE + (LANE - tall) / 2, Math.max(3, end - x), tall);
    }
  }

  /** Shows what happened near the pointer. @param {PointerEvent | null} event */
  point(event) {
    const tip = byId("timeline-tip");
    const width = this.canvas.clientWidth;
    let nearest = null;
    if (event) {
      const lane = Math.floor(event.offsetY / LANE);
      for (const entry of this.entries ?? []) {
        if (laneOf(entry.kind) !== lane) continue;
        const [from, until] = [this.x(entry.at, width), this.x(entry.until, width)];
        const far = event.offsetX < from ? from - event.offsetX : Math.max(0, event.offsetX - until);
        if (far < 8 && (!nearest || far < nearest.far)) nearest = { far, entry, x: from };
      }
      if (nearest) tip.style.top = `${(lane + 1) * LANE}px`;
    }
    tip.hidden = !nearest;
    if (!nearest) return;
    tip.textContent = `${clock(nearest.entry.at)}  ${nearest.entry.text}`;
    tip.style.left = `${Math.max(0, Math.min(width - tip.offsetWidth, nearest.x))}px`;
  }

  list() {
    const listed = (this.entries ?? []).filter((/** @type {any} */ entry) => !this.lanes.size || this.lanes.has(laneOf(entry.kind)));
    const shown = listed.slice(0, ROWS);
    const { more, missing } = this.history ?? {};
    const notes = [];
    if (listed.length > shown.length) notes.push(`the newest ${ROWS} of ${grouped(listed.length)} entries`);
    if (more) notes.push("older entries: altergolden history");
    if (missing) notes.push(`not complete: ${missing}`);
    setText(byId("timeline-note"), notes.join(" · "));
    setClass(byId("timeline-note"), missing ? "bad" : "quiet");
    byId("timeline-none").hidden = listed.length > 0 || !this.history;
    keyed(
      byId("timeline-list"), shown, (entry) => `${entry.at} ${entry.kind} ${entry.text}`,
      () => make("li", "", make("time"), make("span", "what")),
      (line, entry) => {
        const [time, what] = line.children;
        setText(time, clock(entry.at));
        time.dateTime = new Date(entry.at).toISOString();
        setText(what, entry.text);
        setClass(what, BAD.has(entry.kind) ? (entry.kind === "problem_raised" ? "what changing" : "what bad") : "what");
      },
    );
    setText(byId("timeline-count"), this.history ? grouped(listed.length) : "");
  }
}
