// @discordjs/ws with zlib-stream. The judge's second argument is the version: 1, which discord.js 14 has, inflates by
// zlib-sync, and 2 by node itself.

import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { REST } from '@discordjs/rest';
import { Messages, api, next, saw, token } from '../sim.mjs';

const SHARDS = 4;
const GUILDS_AND_MESSAGES = (1 << 0) | (1 << 9);

const version = process.argv[3];
const rest = new REST({ version: '10', api }).setToken(token);

// Both with their events made alike: first the shard, then the rest.
const versions = {
  async 1() {
    // Without it the library would go on and not use zlib-stream.
    await import('zlib-sync');
    const { WebSocketManager, CompressionMethod } = await import('@discordjs/ws');
    const alike = ({ shardId, data, message, error }) => [shardId, data ?? message ?? error];
    return { WebSocketManager, compression: CompressionMethod.ZlibStream, alike };
  },
  async 2() {
    const { WebSocketManager, CompressionMethod } = await import('@discordjs/ws-2');
    const alike = (...words) => [words.at(-1), words[0]];
    return { WebSocketManager, compression: CompressionMethod.ZlibNative, alike };
  },
};

// Connects all shards and returns when they are ready.
export async function connect() {
  const { WebSocketManager, compression, alike } = await versions[version]();
  const manager = new WebSocketManager({ token, intents: GUILDS_AND_MESSAGES, shardCount: SHARDS, rest, compression });
  const events = new EventEmitter();
  for (const event of ['ready', 'resumed', 'dispatch', 'debug', 'error']) {
    manager.on(event, (...words) => events.emit(event, ...alike(...words)));
  }
  const guilds = new Map();
  const messages = new Messages();
  const sequences = Array(SHARDS).fill(0);
  events.on('dispatch', (shard, { t, s, d }) => {
    assert.equal(s, sequences[shard] + 1, `the sequences of shard ${shard} have no gap`);
    sequences[shard] = s;
    if (t === 'GUILD_CREATE') guilds.set(d.id, shard);
    if (t === 'MESSAGE_CREATE') messages.add(d.nonce);
  });
  events.on('ready', (shard) => saw('shard', shard, 'ready'));
  events.on('resumed', (shard) => saw('shard', shard, 'resumed'));
  events.on('debug', (shard, message) => {
    if (message.startsWith('Connecting to')) assert.match(message, /compress=zlib-stream/);
  });
  const ready = every(events, 'ready');
  await manager.connect();
  await ready;
  return { events, guilds, messages };
}

// Waits until every shard has had the event.
export function every(events, event) {
  const shards = [...Array(SHARDS).keys()];
  return Promise.all(shards.map((shard) => next(events, event, (number) => number === shard)));
}
