// Four shards in two identify buckets: all become ready, with the guilds and messages of their own.

import assert from 'node:assert/strict';
import { ask, fault, identifies, judge, next, saw } from '../sim.mjs';
import { connect } from './manager.mjs';

judge(async () => {
  const { events, guilds, messages } = await connect();
  const expected = await ask('/sim/guilds?limit=1000&shard_total=4');
  while (guilds.size < expected.length) await next(events, 'dispatch');
  assert.deepEqual([...guilds].sort(), expected.map(({ id, shard }) => [id, shard[0]]).sort());
  saw(guilds.size, 'guilds, each on its shard');
  await fault('event_rate', { per_second: 200 });
  await messages.more(200);
  await messages.complete({ ordered: false });
  assert.equal(await identifies(), 4);
});
