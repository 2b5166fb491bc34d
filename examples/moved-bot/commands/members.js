// Members: out of the cache, or fetched over the gateway.

import { MessageFlags, SlashCommandBuilder } from 'discord.js';

export default [
  {
    data: new SlashCommandBuilder()
      .setName('member')
      .setDescription('About a member, or yourself')
      .addUserOption((option) => option.setName('user').setDescription('Who')),
    async execute(interaction) {
      const user = interaction.options.getUser('user') ?? interaction.user;
      const member = await interaction.guild.members.fetch(user.id);
      await interaction.reply({ content: `${member.user.username}: ${member.roles.cache.size} roles`, flags: MessageFlags.Ephemeral });
    },
  },
  {
    data: new SlashCommandBuilder().setName('members').setDescription('Counts the members of this server'),
    async execute(interaction) {
      await interaction.deferReply();
      const members = await interaction.guild.members.fetch();
      const bots = members.filter((member) => member.user.bot).size;
      await interaction.editReply(`${members.size} members fetched, ${interaction.guild.memberCount} known`);
      await interaction.followUp({ content: `${bots} of them are bots`, flags: MessageFlags.Ephemeral });
    },
  },
  {
    data: new SlashCommandBuilder()
      .setName('search')
      .setDescription('Members whose name starts with a text')
      .addStringOption((option) => option.setName('name').setDescription('The start of the name').setRequired(true)),
    async execute(interaction) {
      await interaction.deferReply({ flags: MessageFlags.Ephemeral });
      const found = await interaction.guild.members.fetch({ query: interaction.options.getString('name'), limit: 10 });
      await interaction.editReply(found.map((member) => member.user.username).join(', ') || 'nobody');
    },
  },
];
