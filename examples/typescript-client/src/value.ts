// JSON to and from google.protobuf.Value, which is how a message's data travels.

/** Anything that JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

/** google.protobuf.Value, as proto-loader has it. */
export interface WireValue {
  nullValue?: string | number;
  boolValue?: boolean;
  numberValue?: number;
  stringValue?: string;
  listValue?: { values: WireValue[] };
  structValue?: { fields: Record<string, WireValue> };
}

/** Throws a TypeError for what JSON can't say: NaN, bigints, functions. */
export function toValue(json: Json): WireValue {
  if (json === null) return { nullValue: 0 };
  if (typeof json === 'boolean') return { boolValue: json };
  if (typeof json === 'string') return { stringValue: json };
  if (typeof json === 'number' && Number.isFinite(json)) return { numberValue: json };
  if (Array.isArray(json)) return { listValue: { values: json.map(toValue) } };
  if (typeof json === 'object') {
    const known = Object.entries(json).filter((entry): entry is [string, Json] => entry[1] !== undefined);
    return { structValue: { fields: Object.fromEntries(known.map(([key, value]) => [key, toValue(value)])) } };
  }
  throw new TypeError(`JSON has no ${typeof json} ${String(json)}`);
}

/** Absent counts as null. */
export function fromValue(value: WireValue | null | undefined): Json {
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
