// @ts-check
// Joins the parts of the page: the stream feeds the fleet, the address says what is looked at, and each part is drawn when it changed.

import { Access } from "./access.js";
import { Address, THEMES, VIEWS } from "./address.js";
import { SCALES, step, stepText, value } from "./colours.js";
import { byId, keyed, make, setClass, setText } from "./dom.js";
import { Fleet, STATES, parseFilter } from "./fleet.js";
import { Grid } from "./grid.js";
import { drawAge, drawHead, drawPulse } from "./head.js";
import { drawIdentify, drawPlan } from "./panels.js";
import { ShardCard, describe, drawUnready } from "./shard.js";
import { Stream } from "./stream.js";
import { grouped } from "./text.js";
import { Timeline } from "./timeline.js";
import { Why } from "./why.js";
import { Workers } from "./workers.js";

/** The history is read again after so long, and after so long when something changed. */
const HISTORY_EVERY = 15_000;
const HISTORY_SOON = 1_500;

const fleet = new Fleet();

const access = new Access(() => stream.open());

/** Asks the server for JSON. @param {string} path */
async function ask(path) {
  const answer = await fetch(path, { headers: access.headers(), signal: AbortSignal.timeout(10_000), cache: "no-store" });
  if (!answer.ok) throw new Error((await answer.text()).trim().slice(0, 300) || `the coordinator answered with status ${answer.status}`);
  return answer.json();
}

const address = new Address(() => drawLook());
/** @type {any} */
let history = null;
let historyAt = -Infinity;
let historyDue = 0;

const card = new ShardCard(ask, () => address.set({ shard: null }));
card.changed = () => card.draw(fleet);
const grid = new Grid(byId("grid"), byId("grid-overlay"), byId("grid-tip"), {
  select: (place) => address.set({ shard: fleet.number(place) }),
  describe: (place) => describe(fleet, place),
});
const workers = new Workers({
  sort: (by) => address.set({ sort: address.look.sort === by ? "look" : by }),
  choose: (name) => address.set({ filter: address.look.filter === `worker:${name}` ? "" : `worker:${name}` }),
});
const timeline = new Timeline({ range: (range) => address.set({ range: /** @type {any} */ (range) }) });
const why = new Why(ask, { changed: (guild) => address.set({ guild }), shard: (shard) => address.set({ shard }) });
const stream = new Stream("/page/stream", {
  headers: () => access.headers(),
  refused: () => access.ask(),
  take: (name, data) => {
    if (!fleet.apply(name, data, performance.now())) {
      // A frame is missing: a new connection begins with everything.
      stream.open();
      return;
    }
    drawData();
  },
  changed: () => drawMoment(),
});

/** Places of the shards that pass the filter. */
function shownShards() {
  const passes = parseFilter(address.look.filter);
  const places = [];
  for (let place = 0; place < fleet.count; place++) {
    if (!passes || passes(fleet.number(place), fleet.columns.status[place], fleet.workerOf(place))) places.push(place);
  }
  return places;
}

function drawGrid() {
  const { view, shard, filter } = address.look;
  const shown = shownShards();
  grid.draw(fleet, view, shown, shard === null ? -1 : fleet.place(shard));
  const name = filter ? `${grouped(shown.length)} of ${grouped(fleet.count)}` : grouped(fleet.count);
  setText(byId("shard-count"), name);
  byId("grid-none").hidden = shown.length > 0;
  setText(byId("grid-none"), fleet.count ? "No shard matches the filter. Esc removes the filter." : fleet.received === null ? "" : "No shards are assigned.");
  drawLegend(view, shown);
}

/** `F 2 failed`, `q 6 queued`, `■ 40 ready`; states that need a look first. @param {string} view @param {number[]} shown */
function drawLegend(view, shown) {
  /** @type {{ key: string, mark: string, look: string, text: string, filter: string }[]} */
  let items;
  if (view === "state") {
    const counts = STATES.map(() => 0);
    for (const place of shown) if (fleet.columns.status[place] >= 0) counts[fleet.columns.status[place]] += 1;
    items = STATES.map((state, at) => ({ state, count: counts[at] })).filter(({ count }) => count > 0)
      .sort((a, b) => b.state.severity - a.state.severity)
      .map(({ state, count }) => ({ key: state.name, mark: state.kind === "good" ? "" : state.letter, look: state.name === "unassigned" ? "outline" : state.kind, text: `${grouped(count)} ${state.name}`, filter: state.name }));
  } else {
    const scale = /** @type {import("./colours.js").Scale} */ (view);
    const { limits, alarm, unit } = SCALES[scale];
    const counts = new Array(limits.length + 2).fill(0);
    for (const place of shown) {
      const known = value(fleet, scale, place);
      counts[known === null ? limits.length + 1 : step(scale, known)] += 1;
    }
    items = counts.map((count, at) => {
      const unknown = at > limits.length;
      const look = unknown ? "outline" : alarm && at === limits.length ? "bad" : `step-${at + 1}`;
      const text = unknown ? `unknown: ${grouped(count)}` : `${stepText(scale, at)}${at === limits.length ? ` ${unit}` : ""}: ${grouped(count)}`;
      return { key: String(at), mark: look === "bad" ? "!" : "", look, text, filter: "", count };
    }).filter(({ look, count }) => look !== "outline" || count > 0);
  }
  keyed(
    byId("legend"), items, (item) => `${view} ${item.key}`,
    (item) => {
      const button = make(item.filter ? "button" : "span", "entry", make("i"), make("span"));
      if (item.filter) {
        button.type = "button";
        button.addEventListener("click", () => address.set({ filter: address.look.filter === item.filter ? "" : item.filter }));
      }
      return make("li", "", button);
    },
    (line, item) => {
      const [mark, text] = line.firstChild.children;
      setText(mark, item.mark);
      setClass(mark, `swatch ${item.look}`);
      setText(text, item.text);
      if (item.filter) line.firstChild.setAttribute("aria-pressed", String(address.look.filter === item.filter));
    },
  );
}

/** Draws what the reader chose. */
function drawLook() {
  const { view, filter, shard, guild, theme } = address.look;
  const root = document.documentElement;
  if (root.dataset.theme !== theme) root.dataset.theme = theme;
  setText(byId("theme"), { auto: "Auto", dark: "Dark", light: "Light" }[theme] ?? "");
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.view === view));
  }
  const input = byId("filter");
  if (document.activeElement !== input) input.value = filter;
  card.show(shard);
  card.draw(fleet);
  const place = shard === null ? -1 : fleet.place(shard);
  setText(byId("announce"), place < 0 ? "" : describe(fleet, place));
  why.show(guild);
  drawGrid();
  workers.draw(fleet, address.look.sort, performance.now());
  timeline.draw(address.look.range, fleet.serverNow(performance.now()));
}

/** Draws new data. */
function drawData() {
  const now = performance.now();
  const { news } = fleet;
  drawHead(fleet);
  drawPulse(fleet, history, now);
  drawIdentify(fleet, now);
  drawPlan(fleet, now);
  if (["status", "latency", "rate", "guilds", "worker", "workers", "number"].some((name) => news.has(name))) drawGrid();
  drawUnready(fleet, (shard) => address.set({ shard }));
  workers.draw(fleet, address.look.sort, now);
  card.draw(fleet);
  if (address.look.shard !== null) card.refresh();
  if (["problems", "plan", "workers", "unready", "fleet"].some((name) => news.has(name))) readHistory(HISTORY_SOON);
  readHistory(HISTORY_EVERY);
}

/** Draws what changes with time alone. */
function drawMoment() {
  drawAge(fleet, stream.link, performance.now());
}

/** Reads the history, once within `every` milliseconds. @param {number} every */
async function readHistory(every) {
  const now = performance.now();
  const due = historyAt + every;
  if (now < due) {
    if (every === HISTORY_SOON && !historyDue) historyDue = setTimeout(() => { historyDue = 0; readHistory(0); }, due - now);
    return;
  }
  historyAt = now;
  // What just happened is written a moment later.
  if (every === HISTORY_SOON && history && !historyDue) historyDue = setTimeout(() => { historyDue = 0; readHistory(0); }, 2_500);
  try {
    history = await ask("/page/history");
  } catch (error) {
    history = { ...(history ?? { entries: [], more: false }), missing: error instanceof Error ? error.message : String(error) };
  }
  timeline.history = history;
  timeline.draw(address.look.range, fleet.serverNow(performance.now()));
  drawPulse(fleet, history, performance.now());
}

function nextTheme() {
  address.set({ theme: THEMES[(THEMES.indexOf(address.look.theme) + 1) % THEMES.length] });
}

/** Keys that work anywhere but in a field. @param {KeyboardEvent} event */
function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = /** @type {HTMLElement} */ (event.target);
  const help = /** @type {HTMLDialogElement} */ (byId("help"));
  if (event.key === "Escape") {
    if (target.matches("input")) target.blur();
    else if (address.look.shard !== null) address.set({ shard: null });
    else if (address.look.filter) address.set({ filter: "" });
    return;
  }
  if (target.matches("input")) return;
  const { view } = address.look;
  /** @type {Record<string, () => void>} */
  const keys = {
    "/": () => byId("filter").focus(),
    g: () => byId("why-guild").focus(),
    s: () => byId("grid-overlay").focus(),
    v: () => address.set({ view: VIEWS[(VIEWS.indexOf(view) + 1) % VIEWS.length] }),
    t: nextTheme,
    "?": () => (help.open ? help.close() : help.showModal()),
  };
  const known = keys[event.key];
  if (!known) return;
  event.preventDefault();
  known();
}

document.addEventListener("keydown", key);
byId("skip").addEventListener("click", (/** @type {Event} */ event) => {
  event.preventDefault();
  byId("grid-overlay").focus();
});
for (const button of document.querySelectorAll("[data-view]")) {
  button.addEventListener("click", () => address.set({ view: /** @type {HTMLElement} */ (button).dataset.view ?? "state" }));
}
byId("filter").addEventListener("input", () => address.set({ filter: byId("filter").value.slice(0, 60) }));
byId("theme").addEventListener("click", nextTheme);
byId("help-open").addEventListener("click", () => byId("help").showModal());
byId("help-close").addEventListener("click", () => byId("help").close());
matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => drawLook());
let width = 0;
new ResizeObserver(([{ contentRect }]) => {
  if (Math.floor(contentRect.width) === width) return;
  width = Math.floor(contentRect.width);
  requestAnimationFrame(() => {
    drawGrid();
    timeline.draw(address.look.range, fleet.serverNow(performance.now()));
  });
}).observe(byId("grid-box"));
// The age is shown in tenths of a second.
setInterval(drawMoment, 200);
drawLook();
drawMoment();
stream.open();
