// Starts one process for each shard. npm start, with DISCORD_TOKEN and SHARD_COUNT in the environment

import { fileURLToPath } from 'node:url';
import { ShardingManager } from 'discord.js';

const manager = new ShardingManager(fileURLToPath(new URL('bot.js', import.meta.url)), {
  token: process.env.DISCORD_TOKEN,
  totalShards: Number(process.env.SHARD_COUNT) || 'auto',
});

manager.on('shardCreate', (shard) => {
  console.log(`shard ${shard.id} started`);
  shard.on('death', ({ exitCode }) => console.log(`shard ${shard.id} ended with ${exitCode}`));
});
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit());
await manager.spawn();
