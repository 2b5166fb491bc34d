// Identifies again after op 9 `false`, not before its bucket is open, and is ready again with all its guilds.

import assert from 'node:assert/strict';
import { ask, fault, identifies, judge, next } from '../sim.mjs';
import { login } from './bot.mjs';

judge(async () => {
  const { bot, messages } = await login();
  const guilds = bot.guilds.cache.size;
  const ready = next(bot, 'shardReady');
  await fault('invalid_session', { resumable: false });
  await ready;
  assert.equal(await identifies(), 2);
  const { sessions, shards } = await ask('/sim/sessions');
  assert.equal(sessions.length, 1, 'the first session is over');
  assert.equal(shards[0].resumes + shards[0].resumes_refused, 0);
  assert.equal(bot.guilds.cache.size, guilds);
  await fault('event_rate', { per_second: 50 });
  await messages.more(20);
  await messages.complete();
});
