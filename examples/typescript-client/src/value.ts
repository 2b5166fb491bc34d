// Data of messages: exact JSON text, and google.protobuf.Value for servers that do not support the text.

import { randomUUID } from 'node:crypto';

/** A JSON value. Integers beyond a number's precision are bigints. */
export type Json =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };

/** google.protobuf.Value from proto-loader. */
export interface WireValue {
  nullValue?: string | number;
  boolValue?: boolean;
  numberValue?: number;
  stringValue?: string;
  listValue?: { values: WireValue[] };
  structValue?: { fields: Record<string, WireValue> };
}

/** Returns the data fields of a request. Throws a TypeError for values that are not JSON. */
export function toWire(json: Json): { data: WireValue; dataJson: string } {
  return { data: toValue(json), dataJson: toText(json) };
}

/** Returns the data of an answer as text and parsed. For older servers, the text is made from the value. */
export function fromWire(text: unknown, value: WireValue | null | undefined): { json: string; data: Json } {
  if (typeof text === 'string' && text !== '') return { json: text, data: fromText(text) };
  const data = fromValue(value);
  return { json: JSON.stringify(data), data };
}

/** Writes JSON text. Throws a TypeError for NaN, functions, and already rounded integers. */
export function toText(json: Json): string {
  if (typeof json === 'bigint') return String(json);
  if (typeof json === 'number') {
    if (Number.isInteger(json) && !Number.isSafeInteger(json)) {
      throw new TypeError(`the number ${json} may have been rounded: send a bigint or a string instead`);
    }
    if (Number.isFinite(json)) return Object.is(json, -0) ? '-0' : String(json);
  }
  if (json === null || typeof json === 'boolean' || typeof json === 'string') return JSON.stringify(json);
  if (Array.isArray(json)) return `[${json.map(toText).join(',')}]`;
  if (typeof json === 'object') {
    const fields = known(json).map(([key, value]) => `${JSON.stringify(key)}:${toText(value)}`);
    return `{${fields.join(',')}}`;
  }
  throw new TypeError(`JSON has no ${typeof json} ${String(json)}`);
}

const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

// Marks an integer during parsing. Random, so that no sender's JSON can contain it.
const INTEGER = randomUUID();

/** Parses JSON text; integers beyond a number's precision become bigints. */
export function fromText(text: string): Json {
  const marked = text.replace(TOKENS, (token) =>
    /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token)) ? `{"${INTEGER}":"${token}"}` : token,
  );
  return JSON.parse(marked, (_, value: unknown) => {
    const digits = (value as Record<string, string> | null)?.[INTEGER];
    return digits === undefined ? value : BigInt(digits);
  }) as Json;
}

const known = (json: object) => Object.entries(json).filter((entry): entry is [string, Json] => entry[1] !== undefined);

function toValue(json: Json): WireValue {
  if (json === null) return { nullValue: 0 };
  if (typeof json === 'boolean') return { boolValue: json };
  if (typeof json === 'string') return { stringValue: json };
  if (typeof json === 'bigint') return { numberValue: Number(json) };
  if (typeof json === 'number' && Number.isFinite(json)) return { numberValue: json };
  if (Array.isArray(json)) return { listValue: { values: json.map(toValue) } };
  if (typeof json === 'object') {
    return { structValue: { fields: Object.fromEntries(known(json).map(([key, value]) => [key, toValue(value)])) } };
  }
  throw new TypeError(`JSON has no ${typeof json} ${String(json)}`);
}

/** Absent counts as null. */
function fromValue(value: WireValue | null | undefined): Json {
  if (value?.boolValue !== undefined) return value.boolValue;
  if (value?.stringValue !== undefined) return value.stringValue;
  if (value?.numberValue !== undefined) return value.numberValue;
  if (value?.listValue) return value.listValue.values.map(fromValue);
  if (value?.structValue) {
    const fields = Object.entries(value.structValue.fields);
    return Object.fromEntries(fields.map(([key, field]) => [key, fromValue(field)]));
  }
  return null;
}
