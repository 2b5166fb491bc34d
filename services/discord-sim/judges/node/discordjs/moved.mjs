// A bot behind a fleet whose worker ends under load: it resumes at another worker, gets every message once, and Discord sees no IDENTIFY.

import assert from 'node:assert/strict';
import { ask, fault, identifies, judge, next, saw } from '../sim.mjs';
import { login } from './bot.mjs';

judge(async () => {
  const before = await identifies();
  // More shards than the fleet has.
  const { bot, messages } = await login({ shardCount: 3, shards: [0, 1, 2] });
  const { length: guilds } = await ask('/sim/guilds?limit=1000');
  assert.equal(bot.guilds.cache.size, guilds);
  assert(bot.guilds.cache.every((guild) => guild.members.me), 'the own member of each guild');
  let readyAgain = 0;
  bot.on('shardReady', () => (readyAgain += 1));
  await fault('event_rate', { per_second: 300 });
  await messages.more(100);
  const back = next(bot, 'shardResume');
  saw('ready to lose its worker');
  await back;
  await messages.more(300);
  await messages.complete({ ordered: false });
  assert.equal(await identifies(), before, 'nothing is spent at Discord');
  assert.equal(readyAgain, 0, 'each shard resumed');
});
