// The answers of calls, and their conversion from the wire.
//
// Unknown figures are undefined, not 0. Ids are strings; counts are numbers.

import { fromText, fromWire, type Json, type WireValue } from './value.js';

/** Totals over the whole bot. */
export interface AggregateStats {
  totalGuilds: number;
  /** Members of those guilds, added up. */
  totalUsers: number | undefined;
  totalChannels: number | undefined;
  totalVoiceConnections: number | undefined;
  /** Number of the bot's shards. */
  shardCount: number;
  /** Round trip of each shard to Discord in milliseconds, by shard number. */
  latencies: (number | undefined)[];
  /** Whether every shard answered and was ready; otherwise the totals are too low. */
  complete: boolean;
  /** The shards whose workers did not answer. */
  missingShards: number[];
  /** The shards that answered. */
  shards: ShardStats[];
}

/** One shard. */
export interface ShardStats {
  shardId: number;
  /** The worker that runs it. */
  workerId: string;
  /** `ready`, `queued`, `identifying`, `resuming`, and so on: ShardStatus in lower case. */
  status: string;
  guilds: number;
  users: number | undefined;
  channels: number | undefined;
  voiceConnections: number | undefined;
  /** Round trip to Discord in milliseconds; undefined before the first heartbeat ACK. */
  latencyMs: number | undefined;
  uptimeSeconds: number;
  /** Age of these figures. */
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
  /** Why it is not final. */
  reason: string;
  guildId: string;
  name: string | undefined;
  memberCount: number | undefined;
  /** The guild's shard, found or not. */
  shardId: number;
  /** The shard's worker; empty if the shard has none. */
  workerId: string;
  /** Whether the guild has an outage. */
  unavailable: boolean;
}

/** A user. */
export interface FoundUser {
  found: boolean;
  /** The answer is final. */
  complete: boolean;
  /** Why it is not final. */
  reason: string;
  userId: string;
  /** A shard that knows the user. */
  shardId: number | undefined;
  /** The shards that know the user; with `all`, every such shard. */
  shardIds: number[];
  username: string;
}

/** The result of a broadcast. */
export interface BroadcastOutcome {
  /** Id of the message, which subscribers see too. */
  messageId: string;
  /** Whether every worker has delivered it to its subscribers. */
  complete: boolean;
  workersExpected: number;
  workersAcknowledged: number;
  /** Workers that have not confirmed by the deadline. They get it when they reconnect. */
  missingWorkers: string[];
}

/** The result of a message to a shard. */
export interface Delivery {
  delivered: boolean;
  workerId: string;
  /** Why it was not delivered. */
  reason: string;
}

/** The replies of all requested shards. */
export interface Replies {
  /** Whether every requested shard replied with a value. */
  complete: boolean;
  replies: ShardReply[];
}

/** One shard's reply, or why it is missing. */
export interface ShardReply {
  shardId: number;
  workerId: string;
  /** Integers beyond a number's precision are bigints. */
  value: Json | undefined;
  /** The same as JSON text. */
  json: string | undefined;
  failure: { kind: string; reason: string } | undefined;
}

/** An item of a subscription. */
export type Received =
  /** Messages sent from now on will arrive. */
  | { kind: 'subscribed' }
  | {
      kind: 'message';
      messageId: string;
      type: string;
      /** Integers beyond a number's precision are bigints. */
      data: Json;
      /** The same as JSON text, as the sender wrote it. */
      json: string;
      /** The process that sent it. */
      sender: string;
      /** `all`, `manager` or `shard`. */
      recipient: string;
      shardId: number | undefined;
    }
  /** Messages were lost: reload all state that they keep up to date. */
  | { kind: 'missed'; count: number | undefined; reason: string }
  /** The server does not answer; the subscription reconnects by itself. */
  | { kind: 'away'; reason: string };

/** A cached object, in Discord's own form. */
export interface CachedObject {
  /** Integers beyond a number's precision are bigints. */
  data: Json;
  /** The same as JSON text. */
  json: string;
  shardId: number;
  /** Why parts may be missing or out of date; empty when nothing is in doubt. */
  doubt: string;
}

/** What became of a presence. */
export interface PresenceOutcome {
  /** Whether every shard has sent it. */
  complete: boolean;
  failures: { shardId: number; reason: string }[];
}

/** An item of the stream of events. A later call with its `cursor` continues after it. */
export type ReceivedEvent =
  /** Events from now on, or after the cursor, will arrive. */
  | { kind: 'listening'; cursor: string }
  | {
      kind: 'event';
      cursor: string;
      name: string;
      shardId: number;
      /** Undefined for an event of no guild. */
      guildId: string | undefined;
      /** Grows with each session of the shard. */
      session: string;
      /** The event's number in the session. */
      sequence: number;
      /** When a worker first received it. */
      receivedAt: Date;
      /** `fresh`; `replayed`: an earlier process may have handled it; `expired`: an interaction for which it is too late. */
      mark: string;
      /** Discord's `d`. Integers beyond a number's precision are bigints. */
      data: Json;
      /** Discord's payload (`t`, `s`, `op`, `d`) as JSON text. */
      json: string;
    }
  /** Events of a shard were or may have been lost. */
  | { kind: 'gap'; cursor: string; shardId: number; gap: Gap | undefined }
  /** Events were trimmed before they could be read. */
  | { kind: 'missed'; cursor: string; count: number | undefined; reason: string }
  /** The server does not answer; the stream goes on by itself. */
  | { kind: 'away'; cursor: string; reason: string };

/** A message from proto-loader: 64-bit numbers and enum names are strings, absent fields are missing. */
export type Wire = Record<string, unknown>;

// Returns an enum's name without its prefix. A number is a value that this client's protos do not have.
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
    gap: gapFromWire((wire['outcome'] as Wire | null | undefined)?.['gap'] as Wire | null | undefined),
  };
}

function gapFromWire(wire: Wire | null | undefined): Gap | undefined {
  if (!wire) return undefined;
  return { since: time(wire['sinceUnixMs']), until: time(wire['untilUnixMs']), reason: String(wire['reason']) };
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
    const value = failure ? undefined : fromWire(reply['valueJson'], reply['value'] as WireValue | undefined);
    return {
      shardId: Number(reply['shardId']),
      workerId: String(reply['workerId']),
      value: value?.data,
      json: value?.json,
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
      // Servers from before messages to shards do not set it.
      recipient: word(message['recipient'], 'MESSAGE_RECIPIENT_').replace('unspecified', 'all'),
      shardId: count(message['shardId']),
    };
  }
  if (missed) return { kind: 'missed', count: count(missed['count']), reason: String(missed['reason']) };
  // An item that this client does not know yet.
  return undefined;
}

export function objectFromWire(wire: Wire): CachedObject {
  const json = String(wire['json']);
  return { data: fromText(json), json, shardId: Number(wire['shardId']), doubt: String(wire['doubt']) };
}

export function presenceFromWire(wire: Wire): PresenceOutcome {
  const failures = (wire['failures'] as Wire[]).map(({ shardId, reason }) => ({ shardId: Number(shardId), reason: String(reason) }));
  return { complete: Boolean(wire['complete']), failures };
}

export function eventFromWire(wire: Wire): ReceivedEvent | undefined {
  const cursor = String(wire['cursor']);
  const event = wire['event'] as Wire | null | undefined;
  const gap = wire['gap'] as Wire | null | undefined;
  const missed = wire['missed'] as Wire | null | undefined;
  if (event) {
    const json = String(event['payload']);
    const guildId = String(event['guildId']);
    return {
      kind: 'event',
      cursor,
      name: String(event['name']),
      shardId: Number(event['shardId']),
      guildId: guildId === '0' ? undefined : guildId,
      session: String(event['session']),
      sequence: Number(event['sequence']),
      receivedAt: new Date(Number(event['receivedAtUnixMs'])),
      mark: word(event['mark'], 'EVENT_MARK_').replace('unspecified', 'fresh'),
      data: (fromText(json) as Record<string, Json>)['d'] ?? null,
      json,
    };
  }
  if (gap) return { kind: 'gap', cursor, shardId: Number(gap['shardId']), gap: gapFromWire(gap['gap'] as Wire | null | undefined) };
  if (missed) return { kind: 'missed', cursor, count: count(missed['count']), reason: String(missed['reason']) };
  // An item that this client does not know yet.
  return undefined;
}
