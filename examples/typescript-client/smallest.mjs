// Counts the servers of all shards. node smallest.mjs, with COORDINATOR_URL in the environment

import { ShardBridgeClient } from 'altergolden-client';

const bridge = new ShardBridgeClient();
const stats = await bridge.getAggregateStats();
console.log(`Serving ${stats.totalGuilds} servers across ${stats.shardCount} shards${stats.complete ? '' : ' (not complete)'}`);
bridge.close();
