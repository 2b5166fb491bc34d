// The settings, from the environment. A wrong one is one clear line, before anything starts.

import { hostname } from 'node:os';
import { LEVELS, type Level } from './log.js';

export interface Settings {
  redisUrl: string;
  /** What the names of the streams begin with: the workers' RELAY_PREFIX. */
  relayPrefix: string;
  /** Bots of one group share the events; each group gets all of them. */
  group: string;
  /** This process in its group: unique, and the same when it starts again, so that it finds what it had begun with. */
  consumer: string;
  /** What a consumer has not finished by then goes to another, in milliseconds. */
  claimAfterMs: number;
  /** How many events may be handled at once. */
  inFlight: number;
  /** How long a stop may take, in milliseconds. */
  drainMs: number;
  /** Discord's REST API, or the REST proxy of the workers. */
  api: string;
  /** Others share Discord's limits by this proxy, and it keeps them. */
  proxied: boolean;
  token: string;
  coordinatorUrl: string;
  logLevel: Level;
}

const WEB = ['http:', 'https:'];

/** A setting that is wrong; the message says which, and what it takes. */
export class SettingError extends Error {}

export function settings(env: NodeJS.ProcessEnv): Settings {
  const proxy = env['REST_PROXY_URL'];
  const token = env['DISCORD_TOKEN'] || env['BOT_TOKEN'];
  if (!token) throw new SettingError('DISCORD_TOKEN: needs the bot token');
  const logLevel = (env['LOG_LEVEL'] || 'info') as Level;
  if (!LEVELS.includes(logLevel)) throw new SettingError(`LOG_LEVEL: it takes ${LEVELS.join(', ')}, not ${logLevel}`);
  return {
    redisUrl: url(env, 'REDIS_URL', ['redis:', 'rediss:'], 'redis://127.0.0.1:6379'),
    relayPrefix: env['RELAY_PREFIX'] ?? '',
    group: env['GROUP'] || 'bot',
    consumer: env['CONSUMER'] || hostname(),
    claimAfterMs: whole(env, 'CLAIM_AFTER_MS', 1_000, 30_000),
    inFlight: whole(env, 'IN_FLIGHT', 10, 100),
    drainMs: whole(env, 'DRAIN_MS', 0, 25_000),
    // Of DISCORD_API_URL only the origin counts, as for the workers.
    api: proxy
      ? url(env, 'REST_PROXY_URL', WEB, 'http://127.0.0.1:3080/api').replace(/\/$/, '')
      : `${new URL(url(env, 'DISCORD_API_URL', WEB, 'https://discord.com')).origin}/api`,
    proxied: Boolean(proxy),
    token,
    coordinatorUrl: url(env, 'COORDINATOR_URL', ['http:'], 'http://127.0.0.1:50051'),
    logLevel,
  };
}

function url(env: NodeJS.ProcessEnv, name: string, protocols: string[], example: string): string {
  const value = env[name] || example;
  if (!URL.canParse(value) || !protocols.includes(new URL(value).protocol)) {
    // It may hold a password, so it is not shown.
    throw new SettingError(`${name}: it takes a URL like ${example}`);
  }
  return value;
}

function whole(env: NodeJS.ProcessEnv, name: string, least: number, preset: number): number {
  const value = env[name] ? Number(env[name]) : preset;
  if (!Number.isInteger(value) || value < least) {
    throw new SettingError(`${name}: it takes a whole number from ${least} up, not ${env[name]}`);
  }
  return value;
}
