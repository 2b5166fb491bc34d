import { REST } from '@discordjs/rest';
import { ShardBridgeClient } from 'altergolden-client';
import { relay } from 'altergolden-discordjs-bot/relay';

const bridge = new ShardBridgeClient();
const rest = new REST({ version: '10', api: process.env.REST_PROXY_URL }).setToken(process.env.DISCORD_TOKEN);
const { client, start, stop } = relay({ rest, bridge });

client.on('INTERACTION_CREATE', async ({ data, api }) => {
  if (data.data?.name !== 'ping') return;
  const stats = await bridge.getAggregateStats({ deadlineMs: 1_500 }); // Discord waits 3 s
  let content = `Serving ${stats.totalGuilds} servers across ${stats.shardCount} shards`;
  if (!stats.complete) content += ' (not complete)';
  await api.interactions.reply(data.id, data.token, { content });
});

const { id } = await client.api.applications.getCurrent();
await client.api.applicationCommands.bulkOverwriteGlobalCommands(id, [{ name: 'ping', description: 'How many servers the bot is in' }]);
console.log('listening to', await start());
process.once('SIGTERM', () => stop().then(() => process.exit()));
