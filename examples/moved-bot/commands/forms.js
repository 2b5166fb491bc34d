// Buttons, a modal and autocomplete.

import {
  ActionRowBuilder,
  ButtonBuilder,
  ButtonStyle,
  MessageFlags,
  ModalBuilder,
  SlashCommandBuilder,
  TextInputBuilder,
  TextInputStyle,
} from 'discord.js';

const TAGS = ['rules', 'roles', 'rewards', 'invite'];
const row = (...components) => new ActionRowBuilder().addComponents(...components);
const button = (id, style) => new ButtonBuilder().setCustomId(id).setLabel(id).setStyle(style);

export default [
  {
    data: new SlashCommandBuilder().setName('confirm').setDescription('Asks before it acts'),
    async execute(interaction) {
      const { resource } = await interaction.reply({
        content: 'Really?',
        components: [row(button('yes', ButtonStyle.Danger), button('no', ButtonStyle.Secondary))],
        flags: MessageFlags.Ephemeral,
        withResponse: true,
      });
      const filter = (pressed) => pressed.user.id === interaction.user.id;
      const pressed = await resource.message.awaitMessageComponent({ filter, time: 60_000 });
      await pressed.update({ content: pressed.customId === 'yes' ? 'Done' : 'Cancelled', components: [] });
    },
  },
  {
    data: new SlashCommandBuilder().setName('feedback').setDescription('Opens a form'),
    async execute(interaction) {
      const field = new TextInputBuilder().setCustomId('text').setLabel('What do you think?').setStyle(TextInputStyle.Paragraph);
      const filter = (form) => form.customId === 'feedback' && form.user.id === interaction.user.id;
      const submitted = interaction.awaitModalSubmit({ filter, time: 60_000 });
      await interaction.showModal(new ModalBuilder().setCustomId('feedback').setTitle('Feedback').addComponents(row(field)));
      const form = await submitted;
      await form.reply({ content: `Thank you: ${form.fields.getTextInputValue('text')}`, flags: MessageFlags.Ephemeral });
    },
  },
  {
    data: new SlashCommandBuilder()
      .setName('tag')
      .setDescription('Shows a text')
      .addStringOption((option) => option.setName('name').setDescription('Which').setRequired(true).setAutocomplete(true)),
    async autocomplete(interaction) {
      const typed = interaction.options.getFocused();
      await interaction.respond(TAGS.filter((name) => name.startsWith(typed)).map((name) => ({ name, value: name })));
    },
    async execute(interaction) {
      await interaction.reply({ embeds: [{ title: interaction.options.getString('name'), footer: { text: interaction.guild.name } }] });
    },
  },
];
