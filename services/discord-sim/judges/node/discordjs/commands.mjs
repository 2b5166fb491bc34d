// Registers commands, global and for one guild; an invalid command is rejected with its field.

import assert from 'node:assert/strict';
import { ApplicationCommandOptionType, DiscordAPIError, RESTJSONErrorCodes, SlashCommandBuilder } from 'discord.js';
import { ask, judge, saw } from '../sim.mjs';
import { login } from './bot.mjs';

const echo = new SlashCommandBuilder()
  .setName('echo')
  .setDescription('Says it again')
  .addStringOption((option) => option.setName('text').setDescription('What to say').setRequired(true));

judge(async () => {
  const { bot } = await login();
  const { commands } = bot.application;
  const guild = bot.guilds.cache.first();

  const set = await commands.set([{ name: 'ping', description: 'Answers' }, echo]);
  assert.deepEqual(set.map(({ name }) => name).sort(), ['echo', 'ping']);
  assert.equal(set.find(({ name }) => name === 'echo').options[0].type, ApplicationCommandOptionType.String);
  const again = await commands.set([{ name: 'ping', description: 'Answers quickly' }, echo]);
  assert.deepEqual(again.map(({ id }) => id).sort(), set.map(({ id }) => id).sort(), 'a command keeps its id');
  assert.equal((await commands.fetch()).find(({ name }) => name === 'ping').description, 'Answers quickly');

  const own = await guild.commands.create({ name: 'own', description: 'Of one guild' });
  assert.equal((await own.edit({ description: 'Of this guild' })).description, 'Of this guild');
  assert.equal(own.guildId, guild.id);
  const names = async () => (await ask('/sim/commands')).map(({ name, guild_id }) => [name, guild_id]).sort();
  assert.deepEqual(await names(), [['echo', null], ['own', guild.id], ['ping', null]]);
  await own.delete();
  assert.deepEqual(await names(), [['echo', null], ['ping', null]]);
  saw('commands set, edited and deleted');

  await assert.rejects(commands.create({ name: 'Not A Name', description: 'x' }), (error) => {
    assert(error instanceof DiscordAPIError);
    assert.equal(error.code, RESTJSONErrorCodes.InvalidFormBodyOrContentType);
    assert(error.rawError.errors.name, 'the wrong field is named');
    saw(error.message.replaceAll('\n', ': '));
    return true;
  });
});
