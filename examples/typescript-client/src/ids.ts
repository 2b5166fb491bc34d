// Converts Discord's ids to the wire. Ids have 64 bits and numbers would round them, so numbers are rejected.

/** A Discord id. */
export type Id = string | bigint;

const LARGEST = 2n ** 64n - 1n;

/** Converts an id to the wire. Throws a TypeError for an invalid id. */
export function idToWire(id: Id): string {
  const digits = typeof id === 'number' ? '' : String(id);
  if (!/^\d{1,20}$/.test(digits) || BigInt(digits) > LARGEST) {
    throw new TypeError(`an id must be a string of digits or a bigint, not ${typeof id} ${String(id)}`);
  }
  return digits;
}
