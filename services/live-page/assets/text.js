// @ts-check
// Text for numbers and times, in the words of `altergolden status --watch`. Pure.

/** Stands for a value that is not known. */
export const UNKNOWN = "–";

/** A number with `,` between thousands. @param {number} number */
export function grouped(number) {
  return Math.round(number).toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 shard`, `2 shards`. @param {number} number @param {string} unit */
export function counted(number, unit) {
  return `${grouped(number)} ${unit}${number === 1 ? "" : "s"}`;
}

/** Events a second, exact while they are few. @param {number | null} rate */
export function rate(rate) {
  if (rate === null) return UNKNOWN;
  return rate < 9.95 ? rate.toFixed(1) : grouped(rate);
}

/** MiB as MiB or GiB. @param {number} mib */
export function memory(mib) {
  if (mib === 0) return UNKNOWN;
  return mib < 1000 ? `${mib} MiB` : `${(mib / 1024).toFixed(1)} GiB`;
}

/** An age in its largest useful unit: `0.4 s`, `12 s`, `3 min`. @param {number} ms */
export function age(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${(Math.floor(seconds * 10) / 10).toFixed(1)} s`;
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** A wait in whole seconds or minutes: `41 s`, `7 min`. @param {number} ms */
export function span(ms) {
  const seconds = Math.ceil(Math.max(0, ms) / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.ceil(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** A delay: `0.3 ms`, `12 ms`, `1.4 s`. @param {number} us */
export function delay(us) {
  if (us < 9_950) return `${(us / 1000).toFixed(1)} ms`;
  if (us < 999_500) return `${Math.round(us / 1000)} ms`;
  return `${(us / 1_000_000).toFixed(1)} s`;
}

/** @param {number} number */
const two = (number) => number.toString().padStart(2, "0");

/** `03:12:44` where the reader is. @param {number} unixMs */
export function clock(unixMs) {
  const at = new Date(unixMs);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** `03:12` where the reader is. @param {number} unixMs */
export function minute(unixMs) {
  return clock(unixMs).slice(0, 5);
}

/** Compares names so that `worker-2` comes before `worker-10`. @param {string} a @param {string} b */
export function compareNames(a, b) {
  const parts = (/** @type {string} */ name) => {
    const stem = name.replace(/\d+$/, "");
    return { stem, number: name.slice(stem.length).replace(/^0+/, "") };
  };
  const [x, y] = [parts(a), parts(b)];
  if (x.stem !== y.stem) return x.stem < y.stem ? -1 : 1;
  if (x.number.length !== y.number.length) return x.number.length - y.number.length;
  return x.number < y.number ? -1 : x.number > y.number ? 1 : 0;
}
