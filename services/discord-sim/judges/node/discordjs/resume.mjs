// Resumes after op 7, after a close code and after a dropped connection, and gets the missed messages.

import assert from 'node:assert/strict';
import { fault, identifies, judge, next, replayed, saw } from '../sim.mjs';
import { login } from './bot.mjs';

judge(async () => {
  const { bot, messages } = await login();
  await fault('event_rate', { per_second: 50 });
  await messages.more(20);
  for (const [kind, fields] of [['reconnect'], ['close', { code: 4000 }], ['abort']]) {
    const before = await replayed();
    const away = next(bot, 'shardReconnecting');
    const back = next(bot, 'shardResume');
    await fault(kind, fields);
    await away;
    const [, events] = await back;
    const again = (await replayed()) - before;
    assert(again > 0, 'something was written while it was away');
    saw(`${kind}: resumed with ${events} events; the simulator replayed ${again}`);
    await messages.more(20);
  }
  await messages.complete();
  assert.equal(await identifies(), 1);
});
