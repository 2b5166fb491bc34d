// One shard: the client, its commands and its events.

import { readdir } from 'node:fs/promises';
import { Client, DefaultRestOptions, Events, GatewayIntentBits, MessageFlags } from 'discord.js';

const client = new Client({
  intents: [
    GatewayIntentBits.Guilds,
    GatewayIntentBits.GuildMembers,
    GatewayIntentBits.GuildMessages,
    GatewayIntentBits.GuildMessageReactions,
    GatewayIntentBits.GuildVoiceStates,
    GatewayIntentBits.MessageContent,
  ],
  // The line that moves the bot: Discord's REST API, or the fleet's.
  rest: { api: process.env.REST_PROXY_URL ?? DefaultRestOptions.api },
});

/** What this shard has seen since it started; /seen shows it. */
client.seen = { messages: 0, voice: 0, joined: 0, left: 0 };
client.commands = new Map();
for (const file of await readdir(new URL('commands/', import.meta.url))) {
  const { default: commands } = await import(`./commands/${file}`);
  for (const command of commands) client.commands.set(command.data.name, command);
}

const log = (...words) => console.log(`shard ${client.shard.ids[0]}:`, ...words);

client.once(Events.ClientReady, async () => {
  if (client.shard.ids.includes(0)) {
    await client.application.commands.set([...client.commands.values()].map(({ data }) => data));
    log(client.commands.size, 'commands registered');
  }
  log('ready with', client.guilds.cache.size, 'guilds');
});

client.on(Events.InteractionCreate, async (interaction) => {
  // Components and modals belong to the collectors of the commands.
  if (!interaction.isChatInputCommand() && !interaction.isAutocomplete()) return;
  const command = client.commands.get(interaction.commandName);
  try {
    if (interaction.isAutocomplete()) await command.autocomplete(interaction);
    else await command.execute(interaction);
  } catch (error) {
    console.error(`/${interaction.commandName} failed:`, error);
    if (interaction.isAutocomplete()) return;
    const answer = { content: 'The command failed.', flags: MessageFlags.Ephemeral };
    await (interaction.deferred || interaction.replied ? interaction.followUp(answer) : interaction.reply(answer)).catch(() => {});
  }
});

client.on(Events.MessageCreate, async (message) => {
  if (message.author.bot) return;
  client.seen.messages += 1;
  if (message.content === '!hello') await message.channel.send(`Hello ${message.member.displayName}`);
});
client.on(Events.VoiceStateUpdate, (before, after) => {
  if (after.id !== client.user.id && before.channelId !== after.channelId) client.seen.voice += 1;
});
client.on(Events.GuildCreate, () => (client.seen.joined += 1));
client.on(Events.GuildDelete, () => (client.seen.left += 1));
client.on(Events.ShardReconnecting, () => log('reconnecting'));
client.on(Events.ShardResume, (_, replayed) => log('resumed,', replayed, 'events replayed'));
client.on(Events.ShardReady, () => log('new session'));
client.on(Events.ShardError, (error) => log('connection failed:', error.message));
client.on(Events.Error, (error) => log('error:', error));

// The manager has ended.
process.on('disconnect', () => process.exit());
await client.login();
