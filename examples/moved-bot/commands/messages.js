// Messages, and collectors of messages and reactions.

import { MessageFlags, PermissionFlagsBits, SlashCommandBuilder } from 'discord.js';

export default [
  {
    data: new SlashCommandBuilder()
      .setName('say')
      .setDescription('Writes a text')
      .addStringOption((option) => option.setName('text').setDescription('What').setRequired(true)),
    async execute(interaction) {
      await interaction.channel.send(interaction.options.getString('text'));
      await interaction.reply({ content: 'Written', flags: MessageFlags.Ephemeral });
    },
  },
  {
    data: new SlashCommandBuilder().setName('last').setDescription('The last message that a person wrote here'),
    async execute(interaction) {
      const last = interaction.channel.messages.cache.filter((message) => !message.author.bot).last();
      await interaction.reply(last ? `${last.author.username}: ${last.content}` : 'Nothing yet');
    },
  },
  {
    data: new SlashCommandBuilder().setName('purge').setDescription('Deletes what the bot wrote here'),
    async execute(interaction) {
      const { channel, client, guild } = interaction;
      if (!channel.permissionsFor(guild.members.me).has(PermissionFlagsBits.ManageMessages)) {
        return interaction.reply({ content: 'I may not delete messages here', flags: MessageFlags.Ephemeral });
      }
      const own = channel.messages.cache.filter((message) => message.author.id === client.user.id && !message.interactionMetadata);
      const deleted = await channel.bulkDelete(own);
      await interaction.reply({ content: `${deleted.size} deleted`, flags: MessageFlags.Ephemeral });
    },
  },
  {
    data: new SlashCommandBuilder().setName('ask').setDescription('Waits for the next message in this channel'),
    async execute(interaction) {
      const answers = interaction.channel.awaitMessages({ filter: (message) => !message.author.bot, max: 1, time: 60_000 });
      await interaction.reply('Which colour?');
      const answer = (await answers).first();
      await interaction.editReply(answer ? `${answer.content}, says ${answer.member.user.username}` : 'Nobody answered');
    },
  },
  {
    data: new SlashCommandBuilder().setName('vote').setDescription('Counts reactions until there are two'),
    async execute(interaction) {
      const { resource } = await interaction.reply({ content: 'Vote with a reaction', withResponse: true });
      const votes = await resource.message.awaitReactions({ maxUsers: 2, time: 60_000 });
      await interaction.editReply(votes.map(({ emoji, users }) => `${emoji.name} ${users.cache.size}`).join(', ') || 'No votes');
    },
  },
];
