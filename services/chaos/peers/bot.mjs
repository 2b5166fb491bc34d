// The bot of both peers, as their guides show it: discord.js with its default caches. It appends the number of each message that it
// handles to a file of its own.

import { openSync, writeSync } from 'node:fs';
import { ClusterClient, getInfo } from 'discord-hybrid-sharding';
import { Client, Events, GatewayIntentBits } from 'discord.js';

// The manager has ended.
process.on('disconnect', () => process.exit());

const { Guilds, GuildMembers, GuildMessages, GuildVoiceStates } = GatewayIntentBits;
const isCluster = process.env.CLUSTER_MANAGER !== undefined;
const bot = new Client({
  intents: [Guilds, GuildMembers, GuildMessages, GuildVoiceStates],
  rest: { api: `${process.env.PEER_API}/api`, version: '10' },
  ...(isCluster && { shards: getInfo().SHARD_LIST, shardCount: getInfo().TOTAL_SHARDS }),
});

const seen = openSync(`${process.env.PEER_SEEN}/${process.pid}.seen`, 'a');
function handleMessages() {
  bot.on(Events.MessageCreate, ({ nonce }) => {
    if (nonce) writeSync(seen, `${nonce.slice('sim-'.length)}\n`);
  });
}

if (isCluster) {
  bot.cluster = new ClusterClient(bot);
  // In a graceful switch this comes when the old cluster is ended, as the README of discord-hybrid-sharding shows it.
  bot.cluster.once('ready', handleMessages);
  bot.on(Events.ClientReady, () => bot.cluster.triggerReady());
} else {
  handleMessages();
}
await bot.login(process.env.DISCORD_TOKEN);
