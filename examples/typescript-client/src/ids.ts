// Discord's ids on their way out. They have 64 bits, so a JavaScript number would round them: none is taken.

/** An id of Discord's. */
export type Id = string | bigint;

const LARGEST = 2n ** 64n - 1n;

/** As it goes to the wire. Throws a TypeError for what can't be an id. */
export function idToWire(id: Id): string {
  const digits = typeof id === 'number' ? '' : String(id);
  if (!/^\d{1,20}$/.test(digits) || BigInt(digits) > LARGEST) {
    throw new TypeError(`an id is a string of digits or a bigint, not ${typeof id} ${String(id)}`);
  }
  return digits;
}
