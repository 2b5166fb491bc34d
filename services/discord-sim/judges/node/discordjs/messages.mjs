// Sends, edits and deletes messages, with a file too, and sees them come back; waits where the channel's bucket is empty.

import assert from 'node:assert/strict';
import { ChannelType, DiscordAPIError, Events, RESTJSONErrorCodes } from 'discord.js';
import { ask, judge, next, saw } from '../sim.mjs';
import { login } from './bot.mjs';

judge(async () => {
  const { bot } = await login();
  const channel = bot.channels.cache.find(({ type }) => type === ChannelType.GuildText);

  const came = next(bot, Events.MessageCreate, ({ author }) => author.id === bot.user.id);
  const sent = await channel.send({ content: 'hello', embeds: [{ title: 'An embed' }] });
  const [back] = await came;
  assert.deepEqual([back.id, back.content, back.channelId], [sent.id, 'hello', channel.id]);
  const changed = next(bot, Events.MessageUpdate);
  await sent.edit('hello again');
  assert.equal((await changed)[1].content, 'hello again');
  const answer = await sent.reply({ content: 'to myself', files: [{ attachment: Buffer.from('text'), name: 'a.txt' }] });
  assert.equal(answer.reference.messageId, sent.id);
  assert.equal(answer.attachments.first().name, 'a.txt');
  assert.equal((await channel.messages.fetch({ message: sent.id, force: true })).content, 'hello again');
  const gone = next(bot, Events.MessageDelete);
  await sent.delete();
  assert.equal((await gone)[0].id, sent.id);
  saw('a message sent, edited, answered with a file and deleted');

  const other = bot.channels.cache.filter(({ type }) => type === ChannelType.GuildText).last();
  const texts = Array.from({ length: 8 }, (_, number) => `number ${number}`);
  const began = Date.now();
  await Promise.all(texts.map((text) => other.send(text)));
  const all = await ask('/sim/messages');
  const written = all.filter(({ channel_id }) => channel_id === other.id).map(({ content }) => content);
  assert.deepEqual(written, texts);
  assert(Date.now() - began > 4_000, 'five messages in five seconds');
  const { counts } = await ask('/sim/requests');
  assert(counts.every(({ status }) => status !== 429));
  saw('eight messages in', Date.now() - began, 'ms and no 429');

  await assert.rejects(channel.send(''), (error) => {
    assert(error instanceof DiscordAPIError);
    assert.equal(error.code, RESTJSONErrorCodes.CannotSendAnEmptyMessage);
    return true;
  });
});
