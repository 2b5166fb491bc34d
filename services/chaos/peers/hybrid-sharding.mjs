// discord-hybrid-sharding with two clusters, and its default delays.

import { fileURLToPath } from 'node:url';
import { ClusterManager, ReClusterManager } from 'discord-hybrid-sharding';
import { answer, describeGuild, sum } from './calls.mjs';

const CLUSTERS = 2;
const shards = Number(process.env.PEER_SHARDS);
const manager = new ClusterManager(fileURLToPath(new URL('bot.mjs', import.meta.url)), {
  totalShards: shards,
  shardsPerClusters: Math.ceil(shards / CLUSTERS),
  token: process.env.DISCORD_TOKEN,
});
manager.extend(new ReClusterManager());
manager.on('error', ({ message }) => console.error(message));
manager.on('clusterCreate', (cluster) => cluster.on('error', ({ message }) => console.error(`cluster ${cluster.id}: ${message}`)));
const all = () => [...manager.clusters.values()];

answer({
  spawn: async () => void (await manager.spawn()),
  ready: async () => all().length === CLUSTERS && all().every(({ ready }) => ready),
  processes: async () => all().map((cluster) => ({ pid: cluster.thread?.process?.pid ?? null, shards: cluster.shardList })),
  total: async () => sum(await manager.fetchClientValues('guilds.cache.size')),
  guild: async ({ guild }) => {
    const [found] = await manager.broadcastEval(describeGuild, { context: { id: guild }, guildId: guild });
    return found;
  },
  deploy: async () => void (await manager.recluster.start({ restartMode: 'gracefulSwitch' })),
});
