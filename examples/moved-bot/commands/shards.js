// Across all shards, with discord.js's ShardClientUtil.

import { MessageFlags, SlashCommandBuilder } from 'discord.js';

const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);

export default [
  {
    data: new SlashCommandBuilder().setName('ping').setDescription('How many servers the bot is in'),
    async execute(interaction) {
      const servers = sum(await interaction.client.shard.fetchClientValues('guilds.cache.size'));
      await interaction.reply(`Serving ${servers} servers across ${interaction.client.shard.count} shards`);
    },
  },
  {
    data: new SlashCommandBuilder().setName('stats').setDescription('Totals over all shards'),
    async execute(interaction) {
      const shards = await interaction.client.shard.broadcastEval((client) => ({
        users: client.guilds.cache.reduce((count, guild) => count + guild.memberCount, 0),
        channels: client.channels.cache.filter((channel) => channel.guild && !channel.isThread()).size,
        voice: client.guilds.cache.reduce((count, guild) => count + guild.voiceStates.cache.filter((state) => state.channelId).size, 0),
      }));
      const total = (what) => sum(shards.map((shard) => shard[what]));
      await interaction.reply(`${total('users')} users, ${total('channels')} channels, ${total('voice')} in voice`);
    },
  },
  {
    data: new SlashCommandBuilder()
      .setName('whereis')
      .setDescription('Finds a server on all shards')
      .addStringOption((option) => option.setName('id').setDescription('Its id').setRequired(true)),
    async execute(interaction) {
      const found = await interaction.client.shard.broadcastEval(
        (client, { id }) => client.guilds.cache.has(id) && `${client.guilds.cache.get(id).name} on shard ${client.shard.ids[0]}`,
        { context: { id: interaction.options.getString('id') } },
      );
      await interaction.reply(found.find(Boolean) || 'The bot is not there');
    },
  },
  {
    data: new SlashCommandBuilder()
      .setName('status')
      .setDescription('Sets the status of the bot')
      .addStringOption((option) => option.setName('text').setDescription('What').setRequired(true)),
    async execute(interaction) {
      await interaction.client.shard.broadcastEval((client, { name }) => void client.user.setPresence({ activities: [{ name }] }), {
        context: { name: interaction.options.getString('text') },
      });
      await interaction.reply({ content: 'Set', flags: MessageFlags.Ephemeral });
    },
  },
  {
    data: new SlashCommandBuilder().setName('seen').setDescription('What this shard has seen since it started'),
    async execute(interaction) {
      const { messages, voice, joined, left } = interaction.client.seen;
      await interaction.reply(`${messages} messages, ${voice} moves in voice, ${joined} servers joined, ${left} left`);
    },
  },
];
