// The process: settings, connections, what happens at start and stop.

import { setTimeout as sleep } from 'node:timers/promises';
import { REST } from '@discordjs/rest';
import { ShardBridgeClient } from 'altergolden-client';
import { Redis } from 'ioredis';
import { addHandlers, register } from './bot.js';
import { RelayBroker } from './broker.js';
import { log, reason, sayFrom } from './log.js';
import { dispatched, RelayClient, RelayGateway, type Gap } from './relay.js';
import { SettingError, settings, type Settings } from './settings.js';

/** Between two tries of what must be done at start. */
const AGAIN_AFTER_MS = 5_000;

async function main(config: Settings): Promise<void> {
  sayFrom(config.logLevel);
  const bridge = new ShardBridgeClient({ url: config.coordinatorUrl });
  const rest = new REST({
    version: '10',
    api: config.api,
    ...(config.proxied ? { globalRequestsPerSecond: Number.POSITIVE_INFINITY } : {}),
  }).setToken(config.token);
  // A command waits for Redis to come back; a connection without a sign of life is made anew.
  const redis = new Redis(config.redisUrl, { maxRetriesPerRequest: null, socketTimeout: 10_000, connectionName: config.consumer });

  const { relayPrefix } = config;
  const broker = new RelayBroker(redis, {
    group: config.group,
    name: config.consumer,
    claimAfterMs: config.claimAfterMs,
    inFlight: config.inFlight,
    async handle(stream, data) {
      if (stream === `${relayPrefix}GAP`) return log('warn', 'events were or may have been lost', { ...(data as Gap) });
      const event = dispatched(data);
      await client.handle(event);
      log('debug', 'handled', { event: event.payload.t, shard: event.shardId, sequence: event.payload.s });
    },
    problem: (what, error, fields) => log('warn', what, { ...fields, ...(error ? { reason: reason(error) } : {}) }),
  });
  const gateway = new RelayGateway(
    async () => (await bridge.getAggregateStats({ maxStalenessMs: 60_000 })).shardCount,
    (command) => broker.publish(`${relayPrefix}gateway_send`, command),
  );
  const client = new RelayClient({ rest, gateway });

  stopsOnSignals(async () => {
    const inTime = await broker.stop(config.drainMs);
    bridge.close();
    log(inTime ? 'info' : 'warn', inTime ? 'stopped' : 'stopped before all was handled: the rest comes again');
  });

  const me = await untilDone('find out who it is', () => client.api.users.getCurrent());
  addHandlers(client, bridge, me);
  const streams = [...client.eventNames().map(String), 'GAP'].map((name) => relayPrefix + name);
  await untilDone('subscribe', () => broker.subscribe(streams));
  log('info', 'listening', { streams, group: config.group, consumer: config.consumer });
  await untilDone('register the commands', async () => register(client.api, (await client.api.applications.getCurrent()).id));
  log('info', 'commands registered');
}

async function untilDone<T>(what: string, attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      log('warn', `can't ${what} yet`, { reason: reason(error) });
      await sleep(AGAIN_AFTER_MS);
    }
  }
}

/** The first signal stops in order, the second at once. */
function stopsOnSignals(stop: () => Promise<void>): void {
  let stopping = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(130);
      stopping = true;
      log('info', 'stopping', { signal });
      void stop().then(() => process.exit(0));
    });
  }
}

try {
  await main(settings(process.env));
} catch (error) {
  if (!(error instanceof SettingError)) throw error;
  console.error(`discordjs-bot: ${error.message}`);
  process.exitCode = 2;
}
