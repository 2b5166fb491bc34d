// Checks how @discordjs/brokers loses unhandled events, with a separate Redis. docs/bots.md documents it, and the bot in discord.js works around
// it. This fails when a new version fixes a problem.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { DefaultRedisBrokerOptions, PubSubRedisBroker } from '@discordjs/brokers';
import { Redis } from 'ioredis';

const url = process.argv[2];
const redis = new Redis(url);
const group = 'bot';
const broker = (name) => {
  const made = new PubSubRedisBroker(new Redis(url), { group, name, blockTimeout: 100 });
  made.on('error', () => {});
  return made;
};
const pending = async (stream) => (await redis.xpending(stream, group))[0];
const until = async (what, is) => {
  for (let tries = 0; !(await is()); tries++) {
    assert(tries < 500, `timeout waiting for ${what}`);
    await sleep(20);
  }
};

assert.match(DefaultRedisBrokerOptions.name, /^[0-9a-f]{40}$/, 'the default name differs in each process');

// Delivered to a process that died: no consumer gets it again, not even one with the same name.
const died = broker('a');
await died.subscribe(['DIED']);
await died.publish('DIED', 'begun');
await until('it to be given out', async () => (await pending('DIED')) === 1);
died.streamReadClient.disconnect();
const next = broker('a');
const seen = [];
next.on('DIED', ({ data, ack }) => (seen.push(data), ack()));
await next.subscribe(['DIED']);
await next.publish('DIED', 'new');
await until('the new one', () => seen.length > 0);
await sleep(500);
assert.deepEqual(seen, ['new']);
assert.equal(await pending('DIED'), 1);
console.log('events of a dead process stay pending');

// destroy and unsubscribe delete the consumer, and Redis drops its pending entries.
const ended = broker('b');
await ended.subscribe(['ENDED']);
await ended.publish('ENDED', 'begun');
await until('it to be given out', async () => (await pending('ENDED')) === 1);
await ended.destroy();
assert.equal(await pending('ENDED'), 0);
console.log('destroy drops pending events');

// After one entry that can't be decoded, the broker stops reading.
const deaf = broker('c');
deaf.on('DEAF', ({ ack }) => ack());
await deaf.subscribe(['DEAF']);
const error = once(deaf, 'error');
await redis.xadd('DEAF', '*', 'data', Buffer.from([0xc1]));
await error;
await deaf.publish('DEAF', 'unread');
await sleep(500);
assert.equal(deaf.listening, false);
assert.equal(await pending('DEAF'), 1);
console.log('one error stops the broker');

// A new group reads a stream from its beginning.
await redis.xadd('OLD', '*', 'data', deaf.options.encode('older than the group'));
const fresh = broker('d');
const old = once(fresh, 'OLD');
await fresh.subscribe(['OLD']);
assert.equal((await old)[0].data, 'older than the group');
console.log('a new group reads old entries');

process.exit(0);
