// What the caches know about a server.

import { ChannelType, SlashCommandBuilder } from 'discord.js';

export default [
  {
    data: new SlashCommandBuilder().setName('server').setDescription('About this server'),
    async execute(interaction) {
      const { guild } = interaction;
      const counts = `${guild.memberCount} members, ${guild.roles.cache.size} roles, ${guild.emojis.cache.size} emojis`;
      await interaction.reply(`${guild.name}: ${counts}, owner ${guild.ownerId}`);
    },
  },
  {
    data: new SlashCommandBuilder().setName('channels').setDescription('The channels of this server'),
    async execute(interaction) {
      const channels = interaction.guild.channels.cache;
      const count = (type) => channels.filter((channel) => channel.type === type).size;
      const threads = channels.filter((channel) => channel.isThread()).size;
      await interaction.reply(
        `${channels.size - threads} channels: ${count(ChannelType.GuildText)} text, ${count(ChannelType.GuildVoice)} voice, and ${threads} threads`,
      );
    },
  },
  {
    data: new SlashCommandBuilder()
      .setName('role')
      .setDescription('About a role')
      .addRoleOption((option) => option.setName('role').setDescription('Which').setRequired(true)),
    async execute(interaction) {
      const role = interaction.guild.roles.cache.get(interaction.options.getRole('role').id);
      await interaction.reply(`${role.name}: ${role.hexColor}, position ${role.position}, ${role.permissions.toArray().length} permissions`);
    },
  },
];
