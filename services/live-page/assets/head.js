// @ts-check
// The first lines: the fleet in a sentence with its age, the coordinator, the pulse, the problems.

import { byId, keyed, make, setClass, setText } from "./dom.js";
import { READY, STALE_AFTER } from "./fleet.js";
import { UNKNOWN, age, counted, delay, grouped, rate, span } from "./text.js";

/** Whether the shown figures may no longer be true. @param {import("./fleet.js").Fleet} fleet @param {import("./stream.js").Link} link @param {number} now */
export function isStale(fleet, link, now) {
  const old = fleet.age(now);
  return old === null || link.state === "lost" || link.state === "paused" || old > STALE_AFTER;
}

/** `12 of 16 shards ready`. @param {import("./fleet.js").Fleet} fleet */
export function readySentence(fleet) {
  if (!fleet.sections.fleet.acting) return { text: "Standby", kind: "changing" };
  const ready = fleet.counts()[READY];
  const all = Math.max(fleet.count, fleet.sections.fleet.total);
  if (all === 0) return { text: "No shards yet", kind: "changing" };
  if (ready === all) return { text: `${counted(all, "shard")} ready`, kind: "good" };
  return { text: `${grouped(ready)} of ${counted(all, "shard")} ready`, kind: ready === 0 ? "bad" : "changing" };
}

/** Draws what follows from the data. @param {import("./fleet.js").Fleet} fleet */
export function drawHead(fleet) {
  const { fleet: about, workers } = fleet.sections;
  const { text, kind } = readySentence(fleet);
  const totals = fleet.totals();
  setText(byId("ready"), text);
  setClass(byId("ready"), kind);
  setText(byId("totals"), `${counted(totals.guilds, "guild")} · ${rate(totals.events)} events/s`);
  document.title = `${text} · altergolden`;
  const draining = fleet.sections.load.state.filter((/** @type {number} */ state) => state === 1).length;
  const parts = [counted(workers.length, "worker") + (draining ? ` (${draining} draining)` : "")];
  if (about.generation) parts.push(`generation ${about.generation}`);
  parts.push(about.acting ? `coordinator acting, term ${about.term}` : "coordinator on standby");
  if (about.version) parts.push(`version ${about.version}`);
  setText(byId("coordinator"), parts.join(" · "));
  drawProblems(fleet);
}

/** Draws the age, and why no news arrives; every moment. @param {import("./fleet.js").Fleet} fleet @param {import("./stream.js").Link} link @param {number} now */
export function drawAge(fleet, link, now) {
  const old = fleet.age(now);
  const stale = isStale(fleet, link, now);
  document.documentElement.classList.toggle("stale", stale && old !== null);
  document.documentElement.classList.toggle("empty", old === null);
  const text = old === null ? "" : stale ? `STALE: ${age(old)} old` : `${age(old)} old`;
  setText(byId("age"), text);
  setClass(byId("age"), stale ? "age bad" : "age");
  const reason = linkText(fleet, link, now);
  setText(byId("link"), reason);
  setClass(byId("link"), link.state === "lost" || (stale && old !== null) ? "bad" : "");
  byId("link").hidden = !reason;
}

/** Why no news arrives; empty while it does. @param {import("./fleet.js").Fleet} fleet @param {import("./stream.js").Link} link @param {number} now */
function linkText(fleet, link, now) {
  const known = fleet.received !== null;
  switch (link.state) {
    case "live":
      if (!fleet.sections.fleet.acting) return "This coordinator is a standby; the page of the acting coordinator shows the states of shards. See Problems for what the standby waits for.";
      return isStale(fleet, link, now) ? "Connected, but the coordinator's data is no longer updated." : "";
    case "connecting":
      return known ? "Reconnecting to the coordinator." : "Asking the coordinator for the fleet.";
    case "paused":
      return "Paused while the page was hidden.";
    default: {
      const wait = Math.max(1, Math.ceil((link.next - now) / 1000));
      return `No data from the coordinator: ${link.reason}. Next attempt in ${wait} s.`;
    }
  }
}

/** @param {import("./fleet.js").Fleet} fleet */
function drawProblems(fleet) {
  const { shown, count } = fleet.sections.problems;
  const now = fleet.serverThen;
  byId("problems").hidden = count === 0;
  const isWrong = shown.some((/** @type {any} */ problem) => problem.weight === "problem");
  setClass(byId("problems"), isWrong ? "wrong" : "");
  setText(byId("problem-count"), count > shown.length ? `${shown.length} of ${grouped(count)}` : grouped(count));
  keyed(
    byId("problem-list"), shown, (problem) => `${problem.code} ${problem.shard ?? ""} ${problem.since ?? ""}`,
    () => make("li", "", make("span", "weight"), make("span", "text"), make("span", "code")),
    (line, problem) => {
      const [weight, text, code] = line.children;
      const kind = { progress: "changing", advice: "moving" }[/** @type {string} */ (problem.weight)] ?? "bad";
      setClass(weight, `weight ${kind}`);
      setText(weight, problem.weight);
      setText(text, problem.text);
      const began = problem.since && problem.since <= now ? `, began ${age(now - problem.since)} ago` : "";
      setText(code, `${problem.code}${began}`);
    },
  );
}

/**
 * Draws the pulse. `history` is the day's history, or null before it was read.
 * @param {import("./fleet.js").Fleet} fleet @param {any} history @param {number} now
 */
export function drawPulse(fleet, history, now) {
  const figures = fleet.workers(now).map((/** @type {any} */ worker) => ({ name: worker.name, ...worker.figures, known: !!worker.figures }));
  const known = figures.filter((/** @type {any} */ worker) => worker.known);
  const sum = (/** @type {string} */ name) => known.reduce((/** @type {number} */ all, /** @type {any} */ worker) => all + (worker[name] ?? 0), 0);
  const older = known.length < figures.length ? `, without ${counted(figures.length - known.length, "worker")} of an older version` : "";
  const since = `since the workers started${older}`;
  const none = known.length === 0;

  const gapEntries = history?.entries.filter((/** @type {any} */ entry) => entry.kind === "gap") ?? [];
  const gaps = gapEntries.reduce((/** @type {number} */ all, /** @type {any} */ entry) => all + entry.count, 0);
  const partial = history && (history.more || history.missing);
  const reach = partial ? "in the history that was read" : "in 24 hours";
  tile("gaps", history ? grouped(gaps) : UNKNOWN, `times that events were or may have been lost, ${reach}`, gaps ? "bad" : "");
  const lost = sum("dropped");
  tile("lost", none ? UNKNOWN : grouped(lost), `events left out because a queue was full, ${since}`, lost ? "bad" : "");
  tile("repeated", none ? UNKNOWN : grouped(sum("replayed")), `events given to bots twice, marked, ${since}`, "");
  const slowest = known.filter((/** @type {any} */ worker) => worker.delay !== null && worker.delay !== undefined)
    .reduce((/** @type {any} */ worst, /** @type {any} */ worker) => (!worst || worker.delay > worst.delay ? worker : worst), null);
  tile("delay", slowest ? delay(slowest.delay) : UNKNOWN, slowest ? `from receipt to handler or stream, last minute, slowest: ${slowest.name}` : "from receipt to handler or stream: no events in the last minute", slowest && slowest.delay > 1_000_000 ? "bad" : "");

  const waiting = sum("restWaiting");
  const invalid = known.reduce((/** @type {number} */ most, /** @type {any} */ worker) => Math.max(most, worker.restInvalid), 0);
  const blocked = known.some((/** @type {any} */ worker) => worker.restBlocked);
  tile("rest", none ? UNKNOWN : grouped(waiting), blocked ? "waiting; the breaker is open: nothing is sent" : `REST requests waiting, ${grouped(invalid)} of 10,000 invalid in 10 min`, blocked ? "bad" : "");
  const relays = known.some((/** @type {any} */ worker) => worker.relays);
  const failures = sum("relayFailures");
  tile("relay", relays ? grouped(sum("relayWaiting")) : UNKNOWN, relays ? `events waiting for the streams, ${grouped(failures)} failures ${since}` : none ? "not reported" : "events are not relayed", "");
}

/** @param {string} name @param {string} value @param {string} note @param {string} kind */
function tile(name, value, note, kind) {
  const element = byId(`pulse-${name}`);
  setText(element.querySelector(".value"), value);
  setText(element.querySelector(".note"), note);
  setClass(element.querySelector(".value"), `value ${value === UNKNOWN ? "unknown" : kind}`);
}

/** `8 waiting, 1 at a time: all ready in about 41 s`. @param {import("./fleet.js").Fleet} fleet @param {number} now */
export function queueSentence(fleet, now) {
  const { waiting, at_once, last_turn_in } = fleet.sections.identify;
  if (waiting === 0) return { text: "None waiting", kind: "" };
  if (last_turn_in === null) return { text: `${grouped(waiting)} waiting, and no permit is granted: see problems`, kind: "bad" };
  const left = Math.max(0, last_turn_in - (now - (fleet.received ?? now)));
  return { text: `${grouped(waiting)} waiting, ${at_once} at a time: all ready in about ${span(left)}`, kind: "changing" };
}
