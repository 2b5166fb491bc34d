// What the calls answer, and how it is made of what comes over the wire.
//
// An unknown figure is undefined, not 0. Ids are strings; counts are numbers.

import { fromWire, type Json, type WireValue } from './value.js';

/** Totals over the whole bot. */
export interface AggregateStats {
  totalGuilds: number;
  /** Members of those guilds, added up. */
  totalUsers: number | undefined;
  totalChannels: number | undefined;
  totalVoiceConnections: number | undefined;
  /** How many shards the bot has. */
  shardCount: number;
  /** The round trip of each shard to Discord in milliseconds, by shard number. */
  latencies: (number | undefined)[];
  /** Every shard answered and was ready; else the totals are too low. */
  complete: boolean;
  /** The shards whose workers did not answer. */
  missingShards: number[];
  /** The shards that were answered for. */
  shards: ShardStats[];
}

/** One shard. */
export interface ShardStats {
  shardId: number;
  /** The worker that runs it. */
  workerId: string;
  /** `ready`, `queued`, `identifying`, `resuming`, and so on: ShardStatus of the contract in lower case. */
  status: string;
  guilds: number;
  users: number | undefined;
  channels: number | undefined;
  voiceConnections: number | undefined;
  /** Round trip to Discord in milliseconds; undefined before the first heartbeat came back. */
  latencyMs: number | undefined;
  uptimeSeconds: number;
  /** How old these figures are. */
  ageMs: number;
  /** Events that were or may have been lost when it last connected. */
  gap: Gap | undefined;
}

/** Events that were or may have been lost. */
export interface Gap {
  since: Date | undefined;
  until: Date | undefined;
  reason: string;
}

/** A guild. `found: false, complete: true`: the bot is not in it. */
export interface FoundGuild {
  found: boolean;
  /** The answer is final. */
  complete: boolean;
  /** Why it is not. */
  reason: string;
  guildId: string;
  name: string | undefined;
  memberCount: number | undefined;
  /** The shard that it lives on, found or not. */
  shardId: number;
  /** The worker that runs that shard; empty when none does. */
  workerId: string;
  /** Discord has an outage for it. */
  unavailable: boolean;
}

/** A user. */
export interface FoundUser {
  found: boolean;
  /** The answer is final. */
  complete: boolean;
  /** Why it is not. */
  reason: string;
  userId: string;
  /** A shard that knows it. */
  shardId: number | undefined;
  /** The shards that know it: with `all` every one. */
  shardIds: number[];
  username: string;
}

/** What became of a broadcast. */
export interface BroadcastOutcome {
  /** Its id; subscribers see the same. */
  messageId: string;
  /** Every worker has handed it to its subscribers. */
  complete: boolean;
  workersExpected: number;
  workersAcknowledged: number;
  /** Those that have not said so by the deadline. They get it when they are back. */
  missingWorkers: string[];
}

/** What became of a message to one shard. */
export interface Delivery {
  delivered: boolean;
  workerId: string;
  /** Why it was not delivered. */
  reason: string;
}

/** What each shard replied. */
export interface Replies {
  /** Every shard that was asked has replied with a value. */
  complete: boolean;
  replies: ShardReply[];
}

/** One shard's reply, or why it is missing. */
export interface ShardReply {
  shardId: number;
  workerId: string;
  /** Integers that a number can't hold are bigints. */
  value: Json | undefined;
  /** The same as JSON text. */
  json: string | undefined;
  failure: { kind: string; reason: string } | undefined;
}

/** What a subscription yields. */
export type Received =
  /** What is sent from here on comes. */
  | { kind: 'subscribed' }
  | {
      kind: 'message';
      messageId: string;
      type: string;
      /** Integers that a number can't hold are bigints. */
      data: Json;
      /** The same as JSON text, as the sender wrote it. */
      json: string;
      /** The process that sent it. */
      sender: string;
      /** `all`, `manager` or `shard`. */
      recipient: string;
      shardId: number | undefined;
    }
  /** Messages were lost: read again every state that they keep up to date. */
  | { kind: 'missed'; count: number | undefined; reason: string }
  /** The server does not answer; the subscription goes on by itself. */
  | { kind: 'away'; reason: string };

/** A message as proto-loader makes it: 64-bit numbers and names of enums are strings, absent fields are missing. */
export type Wire = Record<string, unknown>;

// An enum's value without its prefix; a number is one that this client's protos do not know.
const word = (value: unknown, prefix: string) =>
  typeof value === 'string' ? value.replace(prefix, '').toLowerCase() : `unknown_${String(value)}`;
const count = (value: unknown) => (value === undefined || value === null ? undefined : Number(value));
const time = (milliseconds: unknown) => (Number(milliseconds) ? new Date(Number(milliseconds)) : undefined);

export function statsFromWire(wire: Wire): AggregateStats {
  const shards = (wire['shards'] as Wire[]).map(shardFromWire);
  const shardCount = Number(wire['shardCount']);
  const latencies = Array<number | undefined>(shardCount).fill(undefined);
  for (const { shardId, latencyMs } of shards) latencies[shardId] = latencyMs;
  return {
    totalGuilds: Number(wire['totalGuilds']),
    totalUsers: count(wire['totalUsers']),
    totalChannels: count(wire['totalChannels']),
    totalVoiceConnections: count(wire['totalVoiceConnections']),
    shardCount,
    latencies,
    complete: Boolean(wire['complete']),
    missingShards: wire['missingShards'] as number[],
    shards,
  };
}

function shardFromWire(wire: Wire): ShardStats {
  const gap = (wire['outcome'] as Wire | null | undefined)?.['gap'] as Wire | null | undefined;
  return {
    shardId: Number(wire['shardId']),
    workerId: String(wire['workerId']),
    status: word(wire['status'], 'SHARD_STATUS_'),
    guilds: Number(wire['guilds']),
    users: count(wire['users']),
    channels: count(wire['channels']),
    voiceConnections: count(wire['voiceConnections']),
    latencyMs: count(wire['latencyMs']),
    uptimeSeconds: Number(wire['uptimeSeconds']),
    ageMs: Number(wire['ageMs']),
    gap: gap
      ? { since: time(gap['sinceUnixMs']), until: time(gap['untilUnixMs']), reason: String(gap['reason']) }
      : undefined,
  };
}

export function guildFromWire(wire: Wire): FoundGuild {
  return {
    found: Boolean(wire['found']),
    complete: Boolean(wire['complete']),
    reason: String(wire['reason']),
    guildId: String(wire['guildId']),
    name: wire['name'] as string | undefined,
    memberCount: count(wire['memberCount']),
    shardId: Number(wire['shardId']),
    workerId: String(wire['workerId']),
    unavailable: Boolean(wire['unavailable']),
  };
}

export function userFromWire(wire: Wire): FoundUser {
  const shardIds = wire['shardIds'] as number[];
  return {
    found: Boolean(wire['found']),
    complete: Boolean(wire['complete']),
    reason: String(wire['reason']),
    userId: String(wire['userId']),
    shardId: shardIds[0],
    shardIds,
    username: String(wire['username']),
  };
}

export function broadcastFromWire(wire: Wire): BroadcastOutcome {
  const workersExpected = Number(wire['workersExpected']);
  const workersAcknowledged = Number(wire['workersAcknowledged']);
  const missingWorkers = wire['missingWorkers'] as string[];
  return {
    messageId: String(wire['messageId']),
    complete: missingWorkers.length === 0 && workersAcknowledged >= workersExpected,
    workersExpected,
    workersAcknowledged,
    missingWorkers,
  };
}

export function deliveryFromWire(wire: Wire): Delivery {
  return {
    delivered: Boolean(wire['delivered']),
    workerId: String(wire['workerId']),
    reason: String(wire['reason']),
  };
}

export function repliesFromWire(wire: Wire): Replies {
  const replies = (wire['replies'] as Wire[]).map((reply): ShardReply => {
    const failure = reply['failure'] as Wire | null | undefined;
    const said = failure ? undefined : fromWire(reply['valueJson'], reply['value'] as WireValue | undefined);
    return {
      shardId: Number(reply['shardId']),
      workerId: String(reply['workerId']),
      value: said?.data,
      json: said?.json,
      failure: failure
        ? { kind: word(failure['kind'], 'REPLY_FAILURE_KIND_'), reason: String(failure['reason']) }
        : undefined,
    };
  });
  return { complete: Boolean(wire['complete']), replies };
}

export function receivedFromWire(wire: Wire): Received | undefined {
  const message = wire['message'] as Wire | null | undefined;
  const missed = wire['missed'] as Wire | null | undefined;
  if (message) {
    return {
      kind: 'message',
      messageId: String(message['messageId']),
      type: String(message['type']),
      ...fromWire(message['dataJson'], message['data'] as WireValue | undefined),
      sender: String(message['sender']),
      // A peer that is older than messages to shards does not say.
      recipient: word(message['recipient'], 'MESSAGE_RECIPIENT_').replace('unspecified', 'all'),
      shardId: count(message['shardId']),
    };
  }
  if (missed) return { kind: 'missed', count: count(missed['count']), reason: String(missed['reason']) };
  // An item that this client does not know yet.
  return undefined;
}
