// @ts-check
// What a cell of the grid says: its colour, letter and value in each view, and the legend. Pure, apart from reading the style.

import { MOST_GUILDS, STATES } from "./fleet.js";
import { grouped, rate } from "./text.js";

/** Limits between the steps of a view, the text of a value, and whether the last step needs a look. */
export const SCALES = {
  latency: { unit: "ms", limits: [50, 100, 150, 250, 500], alarm: true },
  events: { unit: "events/s", limits: [1, 5, 20, 50, 100], alarm: false },
  guilds: { unit: `guilds of ${grouped(MOST_GUILDS)}`, limits: [500, 1000, 1500, 2000, 2250], alarm: true },
};

/** @typedef {"latency" | "events" | "guilds"} Scale */

/** The value of a shard in a view; null when it is not known. @param {import("./fleet.js").Fleet} fleet @param {Scale} view @param {number} place */
export function value(fleet, view, place) {
  const { latency, rate, guilds } = fleet.columns;
  const value = view === "latency" ? latency[place] : view === "events" ? rate[place] / 10 : guilds[place];
  return value === undefined || value < 0 ? null : value;
}

/** A value as text. @param {Scale} view @param {number | null} value */
export function valueText(view, value) {
  if (value === null) return "–";
  return view === "events" ? rate(value) : grouped(value);
}

/** The step of a value, from 0; the last step is `limits.length`. @param {Scale} view @param {number} value */
export function step(view, value) {
  const at = SCALES[view].limits.findIndex((limit) => value < limit);
  return at < 0 ? SCALES[view].limits.length : at;
}

/** The text of a step: `< 50`, `50-99`, `500+`. @param {Scale} view @param {number} at */
export function stepText(view, at) {
  const { limits } = SCALES[view];
  if (at === 0) return `< ${grouped(limits[0])}`;
  if (at === limits.length) return `${grouped(limits[at - 1])}+`;
  return `${grouped(limits[at - 1])}–${grouped(limits[at])}`;
}

/** The colours of the theme, for the canvas. */
export function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const of = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return {
    /** @type {Record<string, string>} */
    kinds: { good: of("--good"), changing: of("--changing"), moving: of("--moving"), bad: of("--bad"), none: of("--none") },
    /** @type {Record<string, string>} */
    inks: { good: of("--on-good"), changing: of("--on-changing"), moving: of("--on-moving"), bad: of("--on-bad"), none: of("--faint") },
    steps: [1, 2, 3, 4, 5, 6].map((at) => of(`--step-${at}`)),
    stepInks: [1, 2, 3, 4, 5, 6].map((at) => of(`--on-step-${at}`)),
    alarm: of("--bad"),
    onAlarm: of("--on-bad"),
    ink: of("--ink"),
    faint: of("--faint"),
    ground: of("--ground"),
    font: of("--font"),
  };
}

/**
 * The colour and the ink of a shard in a view; an empty colour is an outline.
 * @param {import("./fleet.js").Fleet} fleet @param {string} view @param {number} place @param {ReturnType<typeof readPalette>} palette
 */
export function paint(fleet, view, place, palette) {
  if (view === "state") {
    const state = STATES[fleet.columns.status[place]];
    if (!state) return { fill: "", ink: palette.faint, letter: "" };
    if (state.name === "unassigned") return { fill: "", ink: palette.kinds.bad, letter: "-" };
    return { fill: palette.kinds[state.kind], ink: palette.inks[state.kind], letter: state.kind === "good" ? "" : state.letter };
  }
  const scale = /** @type {Scale} */ (view);
  const known = value(fleet, scale, place);
  if (known === null) return { fill: "", ink: palette.faint, letter: "" };
  const at = step(scale, known);
  if (SCALES[scale].alarm && at === SCALES[scale].limits.length) return { fill: palette.alarm, ink: palette.onAlarm, letter: "!" };
  return { fill: palette.steps[at], ink: palette.stepInks[at], letter: "" };
}
