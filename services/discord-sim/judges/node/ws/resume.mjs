// All four shards resume after op 7 and after a dropped connection, and get the missed messages.

import assert from 'node:assert/strict';
import { fault, identifies, judge, replayed, saw } from '../sim.mjs';
import { connect, every } from './manager.mjs';

judge(async () => {
  const { events, messages } = await connect();
  await fault('event_rate', { per_second: 200 });
  await messages.more(100);
  for (const kind of ['reconnect', 'abort']) {
    const resumed = every(events, 'resumed');
    await fault(kind);
    await resumed;
    await messages.more(100);
  }
  await messages.complete({ ordered: false });
  assert.equal(await identifies(), 4);
  for (const shard of [0, 1, 2, 3]) {
    const again = await replayed(shard);
    assert(again > 0, 'something was written while it was away');
    saw(again, 'events were replayed to shard', shard);
  }
});
