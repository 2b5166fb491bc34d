// A bot's way to the workers' events: discord.js's client, to which handlers are added as to any, and what starts and stops it.
//
// Every event is handled at least once: again when its process ended before it was done with it. So a handler says what happens then.

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
  /** What the names of the streams begin with: the workers' RELAY_PREFIX. */
  prefix?: string;
  /** Bots of one group share the events; each group gets all of them. */
  group?: string;
  /** This process in its group: unique, and the same when it starts again, so that it finds what it had begun with. The host's name when absent. */
  consumer?: string;
  /** What a consumer has not finished by then goes to another, in milliseconds; a handler gets two thirds of it. */
  claimAfterMs?: number;
  /** How many events may be handled at once. */
  inFlight?: number;
}

export interface Relay {
  client: RelayClient;
  /** Reads the events for which the client has handlers by now, until `stop`. Resolves to the names of their streams. */
  start(): Promise<string[]>;
  /** Reads no more and finishes what runs; whether all of it was finished in time. The rest comes again. */
  stop(drainMs?: number): Promise<boolean>;
}

export function relay(options: RelayOptions): Relay {
  const { rest, bridge, prefix = '', group = 'bot', consumer = hostname(), claimAfterMs = 30_000, inFlight = 100 } = options;
  const url = options.redisUrl ?? process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';
  // A command waits for Redis to come back; a connection without a sign of life is replaced.
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
