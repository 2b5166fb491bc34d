// Obeys a 429 of every scope: waits as long as it says and tries again, and the message is written once.

import assert from 'node:assert/strict';
import { ChannelType, RESTEvents } from 'discord.js';
import { ask, fault, judge, saw } from '../sim.mjs';
import { login } from './bot.mjs';

judge(async () => {
  const { bot } = await login();
  const channel = bot.channels.cache.find(({ type }) => type === ChannelType.GuildText);
  bot.rest.on(RESTEvents.RateLimited, ({ scope, global, timeToReset }) => {
    saw('rateLimited', { scope, global, timeToReset });
  });
  const scopes = ['user', 'shared', 'global'];
  for (const scope of scopes) {
    await fault('rate_limit', { count: 1, scope, retry_after: 1 });
    const began = Date.now();
    await channel.send(scope);
    const took = Date.now() - began;
    assert(took >= 1_000, `${scope}: written after ${took} ms`);
    saw(`${scope}: written after ${took} ms`);
  }
  const written = await ask('/sim/messages');
  assert.deepEqual(written.map(({ content }) => content), scopes);
  const { counts } = await ask('/sim/requests');
  const sends = counts.filter(({ route, method }) => method === 'POST' && route.endsWith('/messages'));
  assert.deepEqual(sends.map(({ status, count }) => [status, count]), [[200, 3], [429, 3]]);
});
