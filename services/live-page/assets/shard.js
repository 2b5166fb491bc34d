// @ts-check
// Everything about one shard, asked for while it is selected; and the table of shards that are not ready.

import { byId, keyed, make, setClass, setText } from "./dom.js";
import { READY, STATES } from "./fleet.js";
import { UNKNOWN, age, grouped, rate } from "./text.js";

/** Rows of the table of shards that are not ready. */
const ROWS = 12;

/** `shard 3 · ready · worker-1 · 42 ms · 3.2 events/s · 1,204 guilds`. @param {import("./fleet.js").Fleet} fleet @param {number} place */
export function describe(fleet, place) {
  const { status, latency, rate: rates, guilds } = fleet.columns;
  const parts = [`shard ${fleet.number(place)}`, STATES[status[place]]?.name ?? "unknown", fleet.workerOf(place) || "no worker"];
  if (latency[place] >= 0) parts.push(`${latency[place]} ms`);
  if (rates[place] >= 0) parts.push(`${rate(rates[place] / 10)} events/s`);
  parts.push(`${grouped(guilds[place])} guilds`);
  return parts.join(" · ");
}

/** The card of the selected shard. */
export class ShardCard {
  /** @param {(path: string) => Promise<any>} ask @param {() => void} close */
  constructor(ask, close) {
    this.ask = ask;
    /** @type {number | null} */
    this.number = null;
    /** @type {any} */
    this.detail = null;
    this.asked = 0;
    this.timer = 0;
    byId("shard-close").addEventListener("click", close);
  }

  /** Shows another shard, or none. @param {number | null} number */
  show(number) {
    byId("shard").hidden = number === null;
    if (number === this.number) return;
    this.number = number;
    this.detail = null;
    clearTimeout(this.timer);
    // Moving quickly over the grid asks once.
    if (number !== null) this.timer = setTimeout(() => this.refresh(), 120);
  }

  /** Asks for the newest detail. */
  async refresh() {
    const number = this.number;
    if (number === null) return;
    const turn = ++this.asked;
    let detail = null;
    try {
      detail = await this.ask(`/page/shard?shard=${number}`);
    } catch {
      // The figures of the stream are shown alone.
    }
    if (turn === this.asked && this.number === number) {
      this.detail = detail;
      this.changed?.();
    }
  }

  /** @param {import("./fleet.js").Fleet} fleet */
  draw(fleet) {
    if (this.number === null) return;
    setText(byId("shard-name"), `Shard ${this.number}`);
    const place = fleet.place(this.number);
    const state = STATES[fleet.columns.status[place]];
    const list = byId("shard-figures");
    if (place >= 0 && !state) {
      setText(byId("shard-state"), "State unknown because this coordinator is a standby.");
      setClass(byId("shard-state"), "lead quiet");
      list.replaceChildren();
      return;
    }
    if (place < 0) {
      setText(byId("shard-state"), "The fleet has no such shard.");
      setClass(byId("shard-state"), "lead quiet");
      list.replaceChildren();
      return;
    }
    const detail = this.detail ?? {};
    const known = (/** @type {any} */ value, /** @type {(value: any) => string} */ text) => (value === null || value === undefined || value === "" ? UNKNOWN : text(value));
    const lasting = known(detail.state_for_ms, (ms) => ` for ${age(ms)}`).replace(UNKNOWN, "");
    setText(byId("shard-state"), `${state.letter} ${state.name}${lasting}`);
    setClass(byId("shard-state"), `lead ${state.kind}`);
    const { latency, guilds, rate: rates } = fleet.columns;
    const rows = [
      ["because", detail.detail ?? ""],
      ["worker", fleet.workerOf(place) || "none"],
      ["guilds", grouped(guilds[place]) + (detail.pending_guilds ? `, ${grouped(detail.pending_guilds)} missing` : "")],
      ["events/s", rates[place] < 0 ? UNKNOWN : rate(rates[place] / 10)],
      ["latency", latency[place] < 0 ? UNKNOWN : `${latency[place]} ms`],
      ["uptime", known(detail.uptime_seconds || null, (seconds) => age(seconds * 1000))],
      ["sequence", known(detail.sequence || null, grouped)],
      ["reported", known(detail.reported_ms, (ms) => `${age(ms)} ago`)],
      ["start", known(detail.start, (start) => start + (detail.started_ms ? `, ${age(detail.started_ms)} ago` : ""))],
      ["gap", detail.gap || (this.detail ? "none" : UNKNOWN)],
      ["epoch", known(detail.epoch, String)],
    ].filter(([name, text]) => name !== "because" || text);
    keyed(
      list, rows, ([name]) => name, ([name]) => make("div", "", make("dt", "", name), make("dd")),
      (row, [name, text]) => {
        setText(row.lastChild, text);
        setClass(row.lastChild, name === "gap" && detail.gap ? "bad" : "");
      },
    );
  }
}

/** The shards that are not ready, as a table that does not rely on colours. @param {import("./fleet.js").Fleet} fleet @param {(number: number) => void} select */
export function drawUnready(fleet, select) {
  const { unready } = fleet.sections;
  const all = fleet.sections.fleet.acting ? fleet.count - fleet.counts()[READY] : 0;
  byId("unready").hidden = all === 0;
  if (all === 0) return;
  const shown = unready.slice(0, ROWS);
  setText(byId("unready-count"), all > shown.length ? `${shown.length} of ${grouped(all)}` : grouped(all));
  const now = fleet.serverThen;
  keyed(
    byId("unready-rows"), shown, ([number]) => String(number),
    ([number]) => {
      const name = make("button", "link");
      name.type = "button";
      name.addEventListener("click", () => select(number));
      return make("tr", "", make("td", "", name), make("td"), make("td"), make("td", "number"), make("td", "text"));
    },
    (row, [number, since, detail]) => {
      const place = fleet.place(number);
      const state = STATES[fleet.columns.status[place]] ?? STATES[0];
      const [name, status, worker, lasting, because] = row.children;
      setText(name.firstChild, String(number));
      setText(status, `${state.letter} ${state.name}`);
      setClass(status, state.kind);
      setText(worker, fleet.workerOf(place) || UNKNOWN);
      setText(lasting, since && since <= now ? age(now - since) : UNKNOWN);
      setText(because, detail);
    },
  );
}
