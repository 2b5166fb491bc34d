// Settings from the environment, validated before anything starts.

import { hostname } from 'node:os';
import { LEVELS, type Level } from './log.js';

export interface Settings {
  redisUrl: string;
  /** Prefix of the stream names: the workers' RELAY_PREFIX. */
  relayPrefix: string;
  /** Consumer group: bots of one group share the events; each group gets all of them. */
  group: string;
  /** Name of this process in its group: unique and stable across restarts, so that it claims its unfinished events. */
  consumer: string;
  /** Idle time in milliseconds after which another consumer claims an unfinished event. */
  claimAfterMs: number;
  /** Events handled at once. */
  inFlight: number;
  /** Longest graceful stop, in milliseconds. */
  drainMs: number;
  /** URL of Discord's REST API, or of the workers' REST proxy. */
  api: string;
  /** Whether `api` is a proxy, which enforces Discord's shared rate limits. */
  proxied: boolean;
  token: string;
  logLevel: Level;
}

const WEB = ['http:', 'https:'];

/** An invalid setting; the message has its name and the valid values. */
export class SettingError extends Error {}

export function settings(env: NodeJS.ProcessEnv): Settings {
  const proxy = env['REST_PROXY_URL'];
  const token = env['DISCORD_TOKEN'] || env['BOT_TOKEN'];
  if (!token) throw new SettingError('DISCORD_TOKEN: set it to the bot token');
  const logLevel = (env['LOG_LEVEL'] || 'info') as Level;
  if (!LEVELS.includes(logLevel)) throw new SettingError(`LOG_LEVEL: must be one of ${LEVELS.join(', ')}, not ${logLevel}`);
  return {
    redisUrl: url(env, 'REDIS_URL', ['redis:', 'rediss:'], 'redis://127.0.0.1:6379'),
    relayPrefix: env['RELAY_PREFIX'] ?? '',
    group: env['GROUP'] || 'bot',
    consumer: env['CONSUMER'] || hostname(),
    claimAfterMs: whole(env, 'CLAIM_AFTER_MS', 1_000, 30_000),
    inFlight: whole(env, 'IN_FLIGHT', 10, 100),
    drainMs: whole(env, 'DRAIN_MS', 0, 25_000),
    // Only the origin of DISCORD_API_URL is used, as in the workers.
    api: proxy
      ? url(env, 'REST_PROXY_URL', WEB, 'http://127.0.0.1:3080/api').replace(/\/$/, '')
      : `${new URL(url(env, 'DISCORD_API_URL', WEB, 'https://discord.com')).origin}/api`,
    proxied: Boolean(proxy),
    token,
    logLevel,
  };
}

function url(env: NodeJS.ProcessEnv, name: string, protocols: string[], example: string): string {
  const value = env[name] || example;
  if (!URL.canParse(value) || !protocols.includes(new URL(value).protocol)) {
    // The value may contain a password, so it is not shown.
    throw new SettingError(`${name}: must be a URL such as ${example}`);
  }
  return value;
}

function whole(env: NodeJS.ProcessEnv, name: string, least: number, preset: number): number {
  const value = env[name] ? Number(env[name]) : preset;
  if (!Number.isInteger(value) || value < least) {
    throw new SettingError(`${name}: must be a whole number of at least ${least}, not ${env[name]}`);
  }
  return value;
}
