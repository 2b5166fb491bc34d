// Connects a bot to the workers' events: discord.js's client with handlers as usual, and functions to start and stop it.
//
// Every event is handled at least once. It is handled again if its process ended before the handler was done.

import { hostname } from 'node:os';
import type { REST } from '@discordjs/rest';
import type { ShardBridgeClient } from 'altergolden-client';
import { Redis } from 'ioredis';
import { RelayBroker } from './broker.js';
import { dispatched, RelayClient, RelayGateway } from './client.js';
import { log, reason } from './log.js';

export { GAP, RelayClient } from './client.js';

export interface RelayOptions {
  rest: REST;
  bridge: ShardBridgeClient;
  /** The workers' Redis; `REDIS_URL` or redis://127.0.0.1:6379 when absent. */
  redisUrl?: string;
  /** Prefix of the stream names: the workers' RELAY_PREFIX. */
  prefix?: string;
  /** Consumer group: bots of one group share the events; each group gets all of them. */
  group?: string;
  /** Name of this process in its group: unique and stable across restarts, so that it claims its unfinished events. The hostname by default. */
  consumer?: string;
  /** Idle time in milliseconds after which another consumer claims an unfinished event; a handler has two thirds of it. */
  claimAfterMs?: number;
  /** Events handled at once. */
  inFlight?: number;
}

export interface Relay {
  client: RelayClient;
  /** Reads the events for which the client has handlers now, until `stop`. Resolves to the names of their streams. */
  start(): Promise<string[]>;
  /** Stops reading and waits for running handlers. Resolves to whether all finished in time; the rest is delivered again. */
  stop(drainMs?: number): Promise<boolean>;
}

export function relay(options: RelayOptions): Relay {
  const { rest, bridge, prefix = '', group = 'bot', consumer = hostname(), claimAfterMs = 30_000, inFlight = 100 } = options;
  const url = options.redisUrl ?? process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';
  // Commands wait for Redis to come back; a silent connection is replaced.
  const redis = new Redis(url, { maxRetriesPerRequest: null, socketTimeout: 10_000, connectionName: consumer });
  const broker = new RelayBroker(redis, {
    group,
    name: consumer,
    claimAfterMs,
    inFlight,
    async handle(data) {
      const event = dispatched(data);
      await client.handle(event);
      const { t, s, d } = event.payload;
      log('debug', 'handled', { event: t, shard: event.shardId, sequence: s, id: (d as { id?: string } | null)?.id });
    },
    problem: (what, error, fields) => log('warn', what, { ...fields, ...(error ? { reason: reason(error) } : {}) }),
  });
  const gateway = new RelayGateway(
    async () => (await bridge.getAggregateStats({ maxStalenessMs: 60_000 })).shardCount,
    (command) => broker.publish(`${prefix}gateway_send`, command),
  );
  const client = new RelayClient({ rest, gateway });
  return {
    client,
    async start() {
      const streams = client.eventNames().map((name) => prefix + String(name));
      await broker.subscribe(streams);
      return streams;
    },
    stop: (drainMs = 25_000) => broker.stop(drainMs),
  };
}
