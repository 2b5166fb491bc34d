// A button, a menu, a modal and autocomplete: each arrives with its own type and takes its own kind of answer.

import assert from 'node:assert/strict';
import {
  ActionRowBuilder,
  ButtonBuilder,
  ButtonStyle,
  Events,
  ModalBuilder,
  StringSelectMenuBuilder,
  TextInputBuilder,
  TextInputStyle,
} from 'discord.js';
import { ask, fault, judge, next, saw } from '../sim.mjs';
import { login } from './bot.mjs';

const row = (component) => new ActionRowBuilder().addComponents(component);
const button = row(new ButtonBuilder().setCustomId('more').setLabel('More').setStyle(ButtonStyle.Primary));
const menu = row(new StringSelectMenuBuilder().setCustomId('pick').addOptions({ label: 'One', value: '1' }));
const field = new TextInputBuilder().setCustomId('name').setLabel('Name').setStyle(TextInputStyle.Short);
const modal = new ModalBuilder().setCustomId('form').setTitle('Form').addComponents(row(field));

judge(async () => {
  const { bot } = await login();
  const guild_id = bot.guilds.cache.firstKey();
  const option = { name: 'word', description: 'Which', type: 3, autocomplete: true };
  await bot.application.commands.set([{ name: 'find', description: 'Finds', options: [option] }]);
  const arrives = async (fields) => {
    const arrived = next(bot, Events.InteractionCreate);
    await fault('interaction', { guild_id, ...fields });
    return (await arrived)[0];
  };
  const shown = async ({ id }) => (await ask('/sim/interactions')).find((one) => one.id === id);

  const typing = await arrives({ command: 'find', options: [{ name: 'word', value: 'ap' }], autocomplete: true });
  assert(typing.isAutocomplete());
  assert.equal(typing.options.getFocused(), 'ap');
  await typing.respond([{ name: 'Apple', value: 'apple' }]);
  assert.equal((await shown(typing)).callback, 8);
  saw('autocomplete');

  const command = await arrives({ command: 'find', options: [{ name: 'word', value: 'apple' }] });
  const sent = await command.reply({ content: 'Found', components: [button, menu], withResponse: true });
  const message_id = sent.resource.message.id;

  const pressed = await arrives({ component: 'more', message_id });
  assert(pressed.isButton());
  assert.equal(pressed.message.id, message_id);
  await pressed.update({ content: 'Found more', components: [menu] });
  assert.equal((await command.fetchReply()).content, 'Found more');
  saw('a button');

  const picked = await arrives({ component: 'pick', message_id, values: ['1'] });
  assert(picked.isStringSelectMenu());
  assert.deepEqual(picked.values, ['1']);
  await picked.deferUpdate();
  await picked.editReply('Found one');
  assert.equal((await command.fetchReply()).content, 'Found one');
  saw('a menu');

  const asked = await arrives({ command: 'find' });
  await asked.showModal(modal);
  assert.equal((await shown(asked)).callback, 9);
  const typed = [{ type: 1, id: 1, components: [{ type: 4, id: 2, custom_id: 'name', value: 'Ada' }] }];
  const submitted = await arrives({ modal: 'form', components: typed });
  assert(submitted.isModalSubmit());
  await submitted.reply(submitted.fields.getTextInputValue('name'));
  assert.equal((await shown(submitted)).content, 'Ada');
  saw('a modal');
});
