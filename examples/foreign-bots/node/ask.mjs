// Makes one call of the TypeScript client and prints the answer or error as a line of JSON. `subscribe` and `events` print one line per item.
//
//   node ask.mjs URL METHOD [ARGUMENT...]     arguments as JSON; "123n" is a bigint

import { BridgeError, ShardBridgeClient } from 'altergolden-client';

const [url, method, ...words] = process.argv.slice(2);
const bridge = new ShardBridgeClient({ url });
const argument = (word) => (/^\d+n$/.test(word) ? BigInt(word.slice(0, -1)) : JSON.parse(word));
// Bigints are printed with an n, as in arguments.
const say = (item) => console.log(JSON.stringify(item, (_, value) => (typeof value === 'bigint' ? `${value}n` : value)));

const from = performance.now();
const took = () => Math.round(performance.now() - from);
try {
  const asked = bridge[method](...words.map(argument));
  if (method === 'subscribe' || method === 'events') {
    for await (const item of asked) say(item);
  } else {
    say({ answer: await asked, took_ms: took() });
  }
} catch (error) {
  const { name, code, passing, message } = error;
  say({ error: { name, code, passing, message, typed: error instanceof BridgeError }, took_ms: took() });
} finally {
  bridge.close();
}
