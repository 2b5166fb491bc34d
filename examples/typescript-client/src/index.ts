// ShardBridge for TypeScript: what a bot asks and tells across all its shards, whichever process runs them.
//
// Ids are strings, as in Discord's own JSON; what takes an id takes a bigint too. Every call answers by its deadline. An answer that
// is not whole says so (`complete`), and a call that failed throws a BridgeError.

export { ShardBridgeClient } from './client.js';
export type { CallOptions, ClientOptions, SubscribeOptions } from './client.js';
export { BridgeError } from './errors.js';
export type { BridgeErrorCode } from './errors.js';
export type { Id } from './ids.js';
export type { Json } from './value.js';
export type {
  AggregateStats,
  BroadcastOutcome,
  Delivery,
  FoundGuild,
  FoundUser,
  Gap,
  Received,
  Replies,
  ShardReply,
  ShardStats,
} from './answers.js';
