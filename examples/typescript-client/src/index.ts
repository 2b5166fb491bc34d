// ShardBridge for TypeScript: queries and messages across all shards of a bot, in any process.
//
// Ids are strings, as in Discord's JSON; arguments may also be bigints. Every call answers by its deadline. An incomplete answer has
// `complete: false`, and a failed call throws a BridgeError.

export { ShardBridgeClient } from './client.js';
export type { CallOptions, ClientOptions, EventsOptions, GetOptions, SubscribeOptions } from './client.js';
export type { ChannelOptions } from './channel.js';
export { BridgeError } from './errors.js';
export type { BridgeErrorCode } from './errors.js';
export type { Id } from './ids.js';
export type { Activity, Presence } from './presence.js';
export type { Json } from './value.js';
export type {
  AggregateStats,
  BroadcastOutcome,
  CachedObject,
  Delivery,
  FoundGuild,
  FoundUser,
  Gap,
  PresenceOutcome,
  Received,
  ReceivedEvent,
  Replies,
  ShardReply,
  ShardStats,
} from './answers.js';
