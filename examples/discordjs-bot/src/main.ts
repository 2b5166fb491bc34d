// The process: settings, connections, start and stop.

import { setTimeout as sleep } from 'node:timers/promises';
import { DiscordAPIError, REST } from '@discordjs/rest';
import { ShardBridgeClient } from 'altergolden-client';
import { addHandlers, register } from './bot.js';
import { log, reason, setLogLevel } from './log.js';
import { relay } from './relay.js';
import { SettingError, settings, type Settings } from './settings.js';

/** Wait between attempts of a start step. */
const RETRY_AFTER_MS = 5_000;

async function main(config: Settings): Promise<void> {
  setLogLevel(config.logLevel);
  const bridge = connect();
  const rest = new REST({
    version: '10',
    api: config.api,
    ...(config.proxied ? { globalRequestsPerSecond: Number.POSITIVE_INFINITY } : {}),
  }).setToken(config.token);
  const { client, start, stop } = relay({ ...config, rest, bridge, prefix: config.relayPrefix });

  stopOnSignals(async () => {
    const inTime = await stop(config.drainMs);
    bridge.close();
    log(inTime ? 'info' : 'warn', inTime ? 'stopped' : 'stopped before all events were handled; the rest will be delivered again');
  });

  const me = await untilDone('get the current user', () => client.api.users.getCurrent());
  addHandlers(client, bridge, me);
  const streams = await untilDone('subscribe', start);
  log('info', 'listening', { streams, group: config.group, consumer: config.consumer });
  await untilDone('register the commands', async () => register(client.api, (await client.api.applications.getCurrent()).id));
  log('info', 'commands registered');
}

/** Takes COORDINATOR_URL, and CREDENTIALS or COORDINATOR_TOKEN with COORDINATOR_CA. */
function connect(): ShardBridgeClient {
  try {
    return new ShardBridgeClient();
  } catch (error) {
    throw new SettingError(reason(error));
  }
}

async function untilDone<T>(what: string, attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof DiscordAPIError && error.status === 401) {
        console.error('discordjs-bot: DISCORD_TOKEN: Discord rejected the token');
        process.exit(78);
      }
      log('warn', `cannot ${what}; retrying`, { reason: reason(error) });
      await sleep(RETRY_AFTER_MS);
    }
  }
}

/** The first signal stops gracefully, the second at once. */
function stopOnSignals(stop: () => Promise<void>): void {
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
