// @ts-check
// The grid: a cell for each shard, on a canvas, which stays smooth at 25,000 cells. A second canvas shows where the reader is.

import { paint, readPalette, value, valueText } from "./colours.js";

/**
 * @typedef {{ kind: "large" | "numbered" | "letters" | "dots", width: number, height: number, gap: number, perRow: number, rows: number,
 *   together: number, apart: number, label: number }} Cells
 */

/** Room around all cells, for the ring around one. */
const EDGE = 3;

/** Sizes of a cell, the largest first; the first that fits is taken. */
const SIZES = /** @type {{ kind: Cells["kind"], width: number, height: number, gap: number }[]} */ ([
  { kind: "large", width: 84, height: 52, gap: 6 },
  { kind: "numbered", width: 0, height: 30, gap: 4 },
  ...[24, 20, 17].map((size) => ({ kind: "letters", width: size, height: size, gap: 3 })),
  ...[14, 12, 10, 8].map((size) => ({ kind: "dots", width: size, height: size, gap: 2 })),
  ...[7, 6, 5, 4, 3, 2].map((size) => ({ kind: "dots", width: size, height: size, gap: 1 })),
]);

/**
 * Lays out `count` cells with numbers of up to `digits` digits. Pure.
 * @param {number} count @param {number} digits @param {number} width @param {number} height @returns {Cells}
 */
export function layOut(count, digits, width, height) {
  /** @type {Cells | null} */
  let found = null;
  for (const size of SIZES) {
    const { kind, gap } = size;
    let cell = kind === "numbered" ? 24 + digits * 8 : size.width;
    const small = kind === "letters" || kind === "dots";
    const label = small ? digits * 7 + 10 : 0;
    // Ten cells stand together, or fifty small ones, so that rows are easy to count.
    const together = !small ? 1 : size.width >= 8 ? 10 : 50;
    const apart = small ? gap + 2 : 0;
    const room = width - label + gap - 2 * EDGE;
    let perRow = Math.max(1, Math.floor(room / (cell + gap)));
    while (perRow > 1 && perRow * (cell + gap) + Math.floor((perRow - 1) / together) * apart > room) perRow -= 1;
    if (perRow >= 10) perRow -= perRow % (kind === "numbered" && perRow < 20 ? 2 : 10);
    if (kind === "numbered" && count > perRow) cell = Math.min(cell + 24, Math.floor(room / perRow) - gap);
    const rows = Math.ceil(count / perRow);
    found = { kind, width: cell, height: size.height, gap, perRow, rows, together, apart, label };
    const most = kind === "large" ? Math.min(height, 180) : height;
    if (rows * (size.height + gap) <= most) break;
  }
  return /** @type {Cells} */ (found);
}

/** The corner of a cell. @param {Cells} cells @param {number} at */
export function corner(cells, at) {
  const column = at % cells.perRow;
  const row = Math.floor(at / cells.perRow);
  return {
    x: EDGE + cells.label + column * (cells.width + cells.gap) + Math.floor(column / cells.together) * cells.apart,
    y: EDGE + row * (cells.height + cells.gap),
  };
}

/** The cell at a point; -1 between cells that are far apart. @param {Cells} cells @param {number} count @param {number} x @param {number} y */
export function cellAt(cells, count, x, y) {
  const group = cells.together * (cells.width + cells.gap) + cells.apart;
  const [right, down] = [x - cells.label - EDGE, y - EDGE];
  if (right < 0 || down < 0) return -1;
  const inGroup = Math.min(cells.together - 1, Math.floor((right % group) / (cells.width + cells.gap)));
  const column = Math.floor(right / group) * cells.together + inGroup;
  const at = Math.floor(down / (cells.height + cells.gap)) * cells.perRow + column;
  return column < cells.perRow && at < count ? at : -1;
}

/** The grid on its canvases. */
export class Grid {
  /**
   * @param {HTMLCanvasElement} canvas @param {HTMLCanvasElement} overlay @param {HTMLElement} tip
   * @param {{ select: (place: number) => void, describe: (place: number) => string }} parts
   */
  constructor(canvas, overlay, tip, parts) {
    this.canvas = canvas;
    this.overlay = overlay;
    this.tip = tip;
    this.parts = parts;
    /** Places of the shards that are shown. @type {number[]} */
    this.shown = [];
    /** @type {Cells} */
    this.cells = layOut(0, 1, 300, 200);
    this.selected = -1;
    this.hovered = -1;
    this.palette = readPalette();
    overlay.addEventListener("pointermove", (event) => this.hover(event));
    overlay.addEventListener("pointerleave", () => this.hover(null));
    overlay.addEventListener("click", (event) => {
      const at = this.at(event);
      if (at >= 0) parts.select(this.shown[at]);
    });
    overlay.addEventListener("keydown", (event) => this.key(event));
    overlay.addEventListener("focus", () => this.mark());
    overlay.addEventListener("blur", () => this.mark());
  }

  /** @param {MouseEvent} event */
  at(event) {
    return cellAt(this.cells, this.shown.length, event.offsetX, event.offsetY);
  }

  /** @param {MouseEvent | null} event */
  hover(event) {
    const at = event ? this.at(event) : -1;
    if (at === this.hovered) return;
    this.hovered = at;
    this.mark();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { perRow } = this.cells;
    const page = perRow * 10;
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -perRow, ArrowDown: perRow, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey || !this.shown.length) return;
    event.preventDefault();
    const now = this.shown.indexOf(this.selected);
    const next = now < 0 ? 0 : Math.min(this.shown.length - 1, Math.max(0, now + step));
    this.parts.select(this.shown[next]);
  }

  /** Draws all cells. @param {import("./fleet.js").Fleet} fleet @param {string} view @param {number[]} shown @param {number} selected */
  draw(fleet, view, shown, selected) {
    this.shown = shown;
    this.selected = selected;
    const width = Math.floor(/** @type {HTMLElement} */ (this.canvas.parentElement).clientWidth);
    const most = Math.min(620, Math.max(240, innerHeight * 0.55));
    const digits = String(shown.length ? fleet.number(shown[shown.length - 1]) : 0).length;
    const cells = layOut(shown.length, digits, width, most);
    this.cells = cells;
    // The last number before a row may be higher than its cells.
    const height = Math.max(1, 2 * EDGE + cells.rows * (cells.height + cells.gap) + (cells.label ? 8 : 0));
    const context = size(this.canvas, width, height);
    size(this.overlay, width, height);
    this.palette = readPalette();
    context.clearRect(0, 0, width, height);
    this.labels(context, fleet, cells);
    if (cells.kind === "dots") this.dots(context, fleet, view, cells);
    else this.boxes(context, fleet, view, cells);
    this.mark();
  }

  /** The number of the first shard before rows, where there is room. @param {CanvasRenderingContext2D} context @param {import("./fleet.js").Fleet} fleet @param {Cells} cells */
  labels(context, fleet, cells) {
    if (!cells.label) return;
    const pitch = cells.height + cells.gap;
    const every = Math.max(1, Math.ceil(15 / pitch));
    context.fillStyle = this.palette.faint;
    context.font = `11px ${this.palette.font}`;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let row = 0; row < cells.rows; row += every) {
      context.fillText(String(fleet.number(this.shown[row * cells.perRow])), cells.label - 8, EDGE + row * pitch + Math.max(cells.height, 10) / 2);
    }
  }

  /** Small cells: one path for all of a colour. @param {CanvasRenderingContext2D} context @param {import("./fleet.js").Fleet} fleet @param {string} view @param {Cells} cells */
  dots(context, fleet, view, cells) {
    /** @type {Map<string, number[]>} */
    const colours = new Map();
    for (let at = 0; at < this.shown.length; at++) {
      const { fill, ink, letter } = paint(fleet, view, this.shown[at], this.palette);
      const key = fill || `-${letter ? ink : this.palette.kinds.none}`;
      const places = colours.get(key);
      if (places) places.push(at);
      else colours.set(key, [at]);
    }
    const { width, height } = cells;
    for (const [key, places] of colours) {
      const outlined = key.startsWith("-") && width >= 5;
      context.beginPath();
      for (const at of places) {
        const { x, y } = corner(cells, at);
        if (outlined) context.rect(x + 0.5, y + 0.5, width - 1, height - 1);
        else context.rect(x, y, width, height);
      }
      if (outlined) {
        context.strokeStyle = key.slice(1);
        context.stroke();
      } else {
        context.fillStyle = key.replace(/^-/, "");
        context.fill();
      }
    }
    if (width < 10) return;
    context.font = `600 ${width - 3}px ${this.palette.font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let at = 0; at < this.shown.length; at++) {
      const { ink, letter } = paint(fleet, view, this.shown[at], this.palette);
      if (!letter) continue;
      const { x, y } = corner(cells, at);
      context.fillStyle = ink;
      context.fillText(letter, x + width / 2, y + height / 2 + 0.5);
    }
  }

  /** Larger cells, with letters, numbers and values. @param {CanvasRenderingContext2D} context @param {import("./fleet.js").Fleet} fleet @param {string} view @param {Cells} cells */
  boxes(context, fleet, view, cells) {
    const { width, height, kind } = cells;
    const radius = kind === "letters" ? 3 : 5;
    context.textBaseline = "middle";
    for (let at = 0; at < this.shown.length; at++) {
      const place = this.shown[at];
      const { fill, ink, letter } = paint(fleet, view, place, this.palette);
      const { x, y } = corner(cells, at);
      context.beginPath();
      context.roundRect(x + 0.5, y + 0.5, width - 1, height - 1, radius);
      if (fill) {
        context.fillStyle = fill;
        context.fill();
      } else {
        context.strokeStyle = letter ? ink : this.palette.kinds.none;
        context.stroke();
      }
      context.fillStyle = ink;
      const middle = y + height / 2 + 0.5;
      if (kind === "letters") {
        context.font = `600 ${Math.round(height * 0.6)}px ${this.palette.font}`;
        context.textAlign = "center";
        context.fillText(letter, x + width / 2, middle);
        continue;
      }
      const number = String(fleet.number(place));
      const text = view === "state" ? letter : valueText(/** @type {any} */ (view), value(fleet, /** @type {any} */ (view), place));
      if (kind === "large") {
        context.textAlign = "left";
        context.font = `600 15px ${this.palette.font}`;
        context.fillText(number, x + 10, y + 18);
        context.font = `12px ${this.palette.font}`;
        const below = view === "state" ? this.parts.describe(place).split(" · ")[1] ?? "" : text;
        context.fillText(below, x + 10, y + 37);
        continue;
      }
      context.font = `12px ${this.palette.font}`;
      if (view === "state") {
        context.textAlign = "center";
        context.fillText(number, x + width / 2 - (letter ? 7 : 0), middle);
        context.font = `600 13px ${this.palette.font}`;
        context.fillText(letter, x + width - 11, middle);
      } else {
        context.textAlign = "center";
        context.fillText(text, x + width / 2, middle);
      }
    }
  }

  /** Shows the selected cell, and the one under the pointer with its text. */
  mark() {
    const context = /** @type {CanvasRenderingContext2D} */ (this.overlay.getContext("2d"));
    const { width, height } = this.cells;
    context.clearRect(0, 0, this.overlay.width, this.overlay.height);
    /** @param {number} at @param {number} line */
    const ring = (at, line) => {
      const { x, y } = corner(this.cells, at);
      context.strokeStyle = this.palette.ground;
      context.lineWidth = line + 2;
      context.strokeRect(x - 1, y - 1, width + 2, height + 2);
      context.strokeStyle = this.palette.ink;
      context.lineWidth = line;
      context.strokeRect(x - 1, y - 1, width + 2, height + 2);
    };
    const selected = this.shown.indexOf(this.selected);
    if (this.hovered >= 0 && this.hovered < this.shown.length) ring(this.hovered, 1);
    if (selected >= 0) ring(selected, 2);
    this.showTip();
  }

  showTip() {
    const place = this.hovered >= 0 ? this.shown[this.hovered] : undefined;
    this.tip.hidden = place === undefined;
    if (place === undefined) return;
    this.tip.textContent = this.parts.describe(place);
    const { x, y } = corner(this.cells, this.hovered);
    const room = this.overlay.clientWidth - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(room, x - 8))}px`;
    this.tip.style.top = `${y + this.cells.height + 8}px`;
  }
}

/** Sets the size of a canvas, sharp on fine screens. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
export function size(canvas, width, height) {
  const scale = Math.min(3, devicePixelRatio || 1);
  const [across, down] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return context;
}
