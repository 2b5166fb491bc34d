// discord.js's ShardingManager with one shard a process, and its default delays.

import { fileURLToPath } from 'node:url';
import { ShardClientUtil, ShardingManager } from 'discord.js';
import { answer, describeGuild, sum } from './calls.mjs';

const shards = Number(process.env.PEER_SHARDS);
const manager = new ShardingManager(fileURLToPath(new URL('bot.mjs', import.meta.url)), {
  totalShards: shards,
  token: process.env.DISCORD_TOKEN,
});
// Without a listener, a shard that takes longer than 30 s ends the manager.
manager.on('shardCreate', (shard) => shard.on('error', ({ message }) => console.error(`shard ${shard.id}: ${message}`)));
const all = () => [...manager.shards.values()];

answer({
  spawn: async () => void (await manager.spawn()),
  ready: async () => all().length === shards && all().every(({ ready }) => ready),
  processes: async () => all().map((shard) => ({ pid: shard.process?.pid ?? null, shards: [shard.id] })),
  total: async () => sum(await manager.fetchClientValues('guilds.cache.size')),
  guild: ({ guild }) =>
    manager.broadcastEval(describeGuild, { context: { id: guild }, shard: ShardClientUtil.shardIdForGuildId(guild, shards) }),
  deploy: async () => void (await manager.respawnAll()),
});
