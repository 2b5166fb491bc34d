// Answers slash commands: at once, later, and with messages that follow; the simulator shows what the user sees.

import assert from 'node:assert/strict';
import { Events, InteractionResponseType, MessageFlags, RESTJSONErrorCodes } from 'discord.js';
import { ask, fault, takeViolations, judge, next, saw } from '../sim.mjs';
import { login } from './bot.mjs';

judge(async () => {
  const { bot } = await login();
  const guild = bot.guilds.cache.first();
  await bot.application.commands.set([{ name: 'ping', description: 'Answers' }]);

  // Starts a call of the command and returns the received interaction.
  const called = async (options = []) => {
    const arrived = next(bot, Events.InteractionCreate);
    const { interaction_id } = await fault('interaction', { guild_id: guild.id, command: 'ping', options });
    const [interaction] = await arrived;
    assert.equal(interaction.id, interaction_id);
    assert(interaction.isChatInputCommand() && interaction.inCachedGuild());
    assert.deepEqual([interaction.commandName, interaction.guildId], ['ping', guild.id]);
    assert.equal(interaction.member.id, interaction.user.id);
    return interaction;
  };
  const shown = async ({ id }) => (await ask('/sim/interactions')).find((one) => one.id === id);

  const first = await called([{ name: 'text', value: 'hello' }]);
  const { resource } = await first.reply({ content: first.options.getString('text'), withResponse: true });
  assert.equal(resource.message.content, 'hello');
  const reply = await shown(first);
  assert.deepEqual([reply.callback, reply.content, reply.state], [4, 'hello', 'answered']);
  assert(reply.answered_after_ms < 3_000);
  saw('a reply after', reply.answered_after_ms, 'ms');
  const more = await first.followUp('and more');
  assert.deepEqual((await shown(first)).follow_ups, [more.id]);
  assert.equal((await first.fetchReply()).content, 'hello');
  assert.equal((await first.editReply('goodbye')).content, 'goodbye');
  assert.equal((await shown(first)).content, 'goodbye');
  await first.deleteReply(more);
  await first.deleteReply();
  const both = (await ask('/sim/messages')).filter((one) => one.interaction_id === first.id);
  assert.deepEqual(both.map((one) => one.deleted), [true, true]);
  saw('a message that followed, an edit and deletions');

  const second = await called();
  await second.deferReply({ flags: MessageFlags.Ephemeral });
  assert.equal((await shown(second)).state, 'deferred');
  await second.editReply({ embeds: [{ title: 'At last' }] });
  const late = await shown(second);
  const { DeferredChannelMessageWithSource } = InteractionResponseType;
  assert.deepEqual([late.callback, late.state, late.ephemeral], [DeferredChannelMessageWithSource, 'answered', true]);
  saw('a deferred reply');

  const third = await called();
  await third.reply('once');
  // As in another process of the bot that got the same call: it can't know of the first answer.
  third.replied = false;
  await assert.rejects(third.reply('twice'), { code: RESTJSONErrorCodes.InteractionHasAlreadyBeenAcknowledged });
  assert.deepEqual(await takeViolations(), ['interaction_answered_twice']);
  saw('a second reply is refused');
});
