// Logs in with as many shards as the simulator recommends, and has the guilds that the simulator has.

import assert from 'node:assert/strict';
import { Events } from 'discord.js';
import { ask, fault, judge, next, saw } from '../sim.mjs';
import { login } from './bot.mjs';

judge(async () => {
  const { bot } = await login({ shards: 'auto' });
  const shards = bot.ws.shards.size;
  assert.equal(shards, 2, 'as /gateway/bot recommends');
  const guilds = await ask(`/sim/guilds?limit=1000&shard_total=${shards}`);
  const expected = guilds.map(({ id, name, member_count, shard }) => [id, name, member_count, shard[0]]);
  const cached = bot.guilds.cache.map(({ id, name, memberCount, shardId }) => [id, name, memberCount, shardId]);
  assert.deepEqual(cached.sort(), expected.sort());
  const channels = bot.channels.cache.filter((channel) => !channel.isThread()).size;
  assert.equal(channels, (await ask('/sim/stats')).channels);
  saw(`${cached.length} guilds with ${channels} channels on ${shards} shards, as the simulator says`);

  const message = next(bot, Events.MessageCreate);
  await fault('message', { guild_id: guilds[0].id, content: 'hello' });
  const [{ content, guildId, author, member }] = await message;
  assert.deepEqual([content, guildId, author.bot], ['hello', guilds[0].id, false]);
  assert.equal(member.id, author.id);
  saw('a message of', author.tag);

  const left = next(bot, Events.GuildDelete);
  await fault('guild_leave', { guild_id: guilds[0].id });
  assert.equal((await left)[0].id, guilds[0].id);
  const joined = next(bot, Events.GuildCreate);
  await fault('guild_join', { guild_id: guilds[0].id });
  assert.equal((await joined)[0].memberCount, bot.guilds.cache.get(guilds[0].id).memberCount);
  saw('leaving and joining a guild');
});
